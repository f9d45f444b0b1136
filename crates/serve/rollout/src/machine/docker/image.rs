//! Images: their names, and how they come.

use bollard::models::ImageInspect;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::StreamExt as _;

use super::{Container, words};

/// With a tag: an engine that is asked for a name alone pulls all tags there are.
///
/// # Errors
/// It is no name of an image.
pub(crate) fn whole(image: &str) -> Result<String, String> {
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/' | ':' | '@');
    if image.is_empty()
        || !image.chars().all(safe)
        || image.split('/').any(|part| part.is_empty() || part == "..")
    {
        return Err(format!("{image:?} is no name of an image; expected one like registry.example/app:7"));
    }
    let last = image.rsplit('/').next().unwrap_or(image);
    Ok(if last.contains([':', '@']) { image.to_owned() } else { format!("{image}:latest") })
}

impl Container<'_> {
    pub(super) async fn find_image(&self) -> Result<Option<ImageInspect>, String> {
        match self.docker.inspect_image(&self.image).await {
            Ok(image) => Ok(Some(image)),
            Err(error) if words::is_absent(&error) => Ok(None),
            Err(error) => Err(self.problem(&format!("looking at image {}", self.image), &error)),
        }
    }

    /// The new image, pulled if it is not there and the plan allows it.
    pub(super) async fn need_image(&self) -> Result<ImageInspect, String> {
        if let Some(image) = self.find_image().await? {
            return Ok(image);
        }
        if self.plan.pull {
            self.pull().await?;
        }
        self.find_image().await?.ok_or_else(|| self.no_image())
    }

    async fn pull(&self) -> Result<(), String> {
        let doing = format!("pulling image {}", self.image);
        self.tell(&doing);
        let options = CreateImageOptionsBuilder::default().from_image(&self.image).build();
        let mut progress = self.docker.create_image(Some(options), None, None);
        while let Some(step) = progress.next().await {
            step.map_err(|error| self.problem(&doing, &error))?;
        }
        Ok(())
    }

    pub(super) fn no_image(&self) -> String {
        format!(
            "image {} is not at docker engine {}; pull it, load it, or set driver.docker.pull",
            self.image, self.engine
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_tag_gets_one() {
        let made = |image: &str| whole(image).expect("a name");
        assert_eq!(made("app"), "app:latest");
        assert_eq!(made("registry.example:5000/team/app"), "registry.example:5000/team/app:latest");
        assert_eq!(made("registry.example:5000/team/app:7"), "registry.example:5000/team/app:7");
        assert_eq!(made("app@sha256:0123"), "app@sha256:0123");
        for image in ["", "a b", "../version", "a//b", "a?b"] {
            let wrong = format!("{image:?} is no name of an image; expected one like registry.example/app:7");
            assert_eq!(whole(image), Err(wrong));
        }
    }
}
