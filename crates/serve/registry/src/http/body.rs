//! Bodies as Go's JSON decoder reads them: names of fields without regard to case, null as absent. Fields that nobody
//! knows are left out and reported, since newer clients send fields that an older Consul would refuse.

use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, Unexpected, Visitor};
use serde_json::{Error, Value};

use super::Answer;

/// What `body` says, or the 400 that Consul gives; `unknown` hears the names of fields that were left out.
pub(crate) fn decode<T: DeserializeOwned>(body: &[u8], mut unknown: impl FnMut(&str)) -> Result<T, Answer> {
    parse(body, &mut unknown).map_err(|what| Answer::bad(format!("Request decode failed: {what}")))
}

/// The same, with the error as a text that has no beginning.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8], unknown: &mut dyn FnMut(&str)) -> Result<T, String> {
    if body.trim_ascii().is_empty() {
        return Err("EOF".to_owned());
    }
    let value: Value = serde_json::from_slice(body).map_err(|error| {
        if error.is_eof() { "unexpected EOF".to_owned() } else { format!("json: {error}") }
    })?;
    T::deserialize(Lenient { value, unknown }).map_err(|error| format!("json: {error}"))
}

/// A JSON value that is read leniently, at every depth.
struct Lenient<'u> {
    value: Value,
    unknown: &'u mut dyn FnMut(&str),
}

impl<'de> Deserializer<'de> for Lenient<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Array(values) => {
                let mut items = Items { values: values.into_iter(), unknown: self.unknown };
                visitor.visit_seq(&mut items)
            }
            Value::Object(fields) => {
                visitor.visit_map(Fields { fields: fields.into_iter(), value: None, unknown: self.unknown })
            }
            other => other.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let given = match self.value {
            Value::Object(given) => given,
            Value::Null => serde_json::Map::new(),
            // A list of a struct's values in their order is nothing that Go reads.
            Value::Array(_) => return Err(serde::de::Error::invalid_type(Unexpected::Seq, &"an object")),
            other => return other.deserialize_any(visitor),
        };
        let mut fields = serde_json::Map::new();
        for (name, value) in given {
            match known.iter().find(|field| field.eq_ignore_ascii_case(&name)) {
                // Null leaves a field as it is, as if it were absent.
                Some(_) if value.is_null() => {}
                // A name in its own spelling counts more than one in another.
                Some(field) if *field == name || !fields.contains_key(*field) => {
                    fields.insert((*field).to_owned(), value);
                }
                Some(_) => {}
                None => (self.unknown)(&name),
            }
        }
        visitor.visit_map(Fields { fields: fields.into_iter(), value: None, unknown: self.unknown })
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.value.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.value.deserialize_enum(name, variants, visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}

struct Items<'u> {
    values: std::vec::IntoIter<Value>,
    unknown: &'u mut dyn FnMut(&str),
}

impl<'de> serde::de::SeqAccess<'de> for &mut Items<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        self.values.next().map(|value| seed.deserialize(Lenient { value, unknown: self.unknown })).transpose()
    }
}

struct Fields<'u> {
    fields: serde_json::map::IntoIter,
    value: Option<Value>,
    unknown: &'u mut dyn FnMut(&str),
}

impl<'de> serde::de::MapAccess<'de> for Fields<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some((name, value)) = self.fields.next() else { return Ok(None) };
        self.value = Some(value);
        seed.deserialize(name.into_deserializer()).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        let value = self.value.take().unwrap_or_default();
        seed.deserialize(Lenient { value, unknown: self.unknown })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(rename_all = "PascalCase", default)]
    struct Inner {
        id: String,
        tags: Vec<String>,
        port: Option<u16>,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(rename_all = "PascalCase", default)]
    struct Outer {
        name: String,
        meta: BTreeMap<String, String>,
        inner: Vec<Inner>,
    }

    #[test]
    fn fields_are_found_in_any_case_and_strangers_are_reported() {
        let body = br#"{"name":"a","META":{"Key":"v"},"inner":[{"Id":"x","port":7,"Bogus":1,"tags":null}],"Other":{}}"#;
        let mut strangers = Vec::new();
        let read: Outer = decode(body, |name| strangers.push(name.to_owned())).expect("lenient");
        let inner = Inner { id: "x".to_owned(), tags: Vec::new(), port: Some(7) };
        let meta = BTreeMap::from([("Key".to_owned(), "v".to_owned())]);
        assert_eq!(read, Outer { name: "a".to_owned(), meta, inner: vec![inner] });
        strangers.sort();
        assert_eq!(strangers, ["Bogus", "Other"]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let text = |body: &[u8]| match decode::<Outer>(body, |_| {}) {
            Ok(read) => panic!("{read:?} was read"),
            Err(answer) => (answer.status.as_u16(), String::from_utf8_lossy(&answer.body).into_owned()),
        };
        assert_eq!(text(b""), (400, "Request decode failed: EOF".to_owned()));
        assert_eq!(text(b"{\"name\":"), (400, "Request decode failed: unexpected EOF".to_owned()));
        assert!(
            text(br#"{"Name":5}"#).1.contains("invalid type: integer `5`, expected a string"),
            "{:?}",
            text(br#"{"Name":5}"#)
        );
        let list = "Request decode failed: json: invalid type: sequence, expected an object";
        assert_eq!(text(b"[]"), (400, list.to_owned()));
    }
}
