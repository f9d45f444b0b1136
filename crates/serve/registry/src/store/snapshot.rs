//! The registry in one piece: a name and a version, the records, a checksum.

use weir_registry::{Record, Table};

const NAME: &[u8; 8] = b"weirreg1";

/// Each record: table (1 byte), lengths of key and value (4 bytes each, little endian), key, value. At the end the CRC-32
/// of everything before it.
pub(super) fn write(records: &[Record]) -> Vec<u8> {
    let mut bytes = NAME.to_vec();
    for record in records {
        let value = record.value.as_deref().unwrap_or_default();
        bytes.push(record.table as u8);
        bytes.extend_from_slice(&length(&record.key));
        bytes.extend_from_slice(&length(value));
        bytes.extend_from_slice(&record.key);
        bytes.extend_from_slice(value);
    }
    let sum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes
}

fn length(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).expect("a row is far below 4 GiB").to_le_bytes()
}

pub(super) fn read(bytes: &[u8]) -> Result<Vec<Record>, String> {
    let Some((body, sum)) = bytes.split_last_chunk::<4>() else {
        return Err(format!("it has {} bytes", bytes.len()));
    };
    let Some(mut rest) = body.strip_prefix(NAME) else {
        return Err("it does not begin with \"weirreg1\"".to_owned());
    };
    if crc32fast::hash(body) != u32::from_le_bytes(*sum) {
        return Err("it does not have the checksum that it came with; save it again".to_owned());
    }
    let mut records = Vec::new();
    while !rest.is_empty() {
        let (record, after) =
            one(rest).ok_or_else(|| format!("record {} cannot be read", records.len() + 1))?;
        records.push(record);
        rest = after;
    }
    Ok(records)
}

fn one(bytes: &[u8]) -> Option<(Record, &[u8])> {
    let (table, rest) = bytes.split_first()?;
    let (key, rest) = rest.split_first_chunk::<4>()?;
    let (value, rest) = rest.split_first_chunk::<4>()?;
    let (key, rest) = rest.split_at_checked(u32::from_le_bytes(*key) as usize)?;
    let (value, rest) = rest.split_at_checked(u32::from_le_bytes(*value) as usize)?;
    let table = Table::of(*table)?;
    Some((Record { table, key: key.to_vec(), value: Some(value.to_vec()) }, rest))
}
