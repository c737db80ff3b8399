//! The lengths of names and descriptions, which are narrower than the engine's.

use crate::change::Patch;
use crate::error::Error;
use crate::model::{Description, Name, check_published};

/// Checks the texts of what is to be created.
pub(super) fn check_new(name: &str, description: Option<&str>) -> Result<(), Error> {
    check_name(name)?;
    description.map_or(Ok(()), check_description)
}

/// Checks the texts that a patch gives. What the program has written otherwise can be sent back as
/// it is.
pub(super) fn check_texts(
    name: &Name,
    new_name: Option<&str>,
    description: Option<&Description>,
    new_description: &Patch<String>,
) -> Result<(), Error> {
    if let Some(new) = new_name.filter(|new| name != new) {
        check_name(new)?;
    }
    match new_description {
        Patch::Set(new) if description.is_none_or(|own| own != new.as_str()) => {
            check_description(new)
        }
        _ => Ok(()),
    }
}

fn check_name(name: &str) -> Result<(), Error> {
    check_published(name, 3, 255).map_err(|error| error.at("name"))
}

fn check_description(description: &str) -> Result<(), Error> {
    check_published(description, 3, 1024).map_err(|error| error.at("description"))
}
