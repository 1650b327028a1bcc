//! All libraries of functions of a cluster: one value, kept with the keys of partition 0 where no
//! client sees it.

use bytes::Bytes;

use super::{Flag, Function, Library};
use crate::core::codec::{CodecError, Reader, Writer};

/// Version of the encoded form.
const VERSION: u8 = 1;
/// The most bytes that all libraries together take: they are written as one value.
pub const CATALOG_BYTES_MAX: usize = 4 << 20;

/// The libraries of a cluster, in the order in which they were added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalog {
    libraries: Vec<Library>,
}

impl Catalog {
    /// All of them.
    pub fn libraries(&self) -> &[Library] {
        &self.libraries
    }

    /// The function of a name in any case, and its library.
    pub fn find(&self, name: &[u8]) -> Option<(&Library, &Function)> {
        self.libraries.iter().find_map(|library| {
            let mut functions = library.functions.iter();
            let function = functions.find(|it| it.name.eq_ignore_ascii_case(name))?;
            Some((library, function))
        })
    }

    /// Adds a library, or puts it in the place of one of its name where that is wanted.
    ///
    /// # Errors
    /// The error's whole text, and nothing was added.
    pub fn add(&mut self, library: Library, replaces: bool) -> Result<(), String> {
        let place = self.libraries.iter().position(|it| it.name == library.name);
        let name = String::from_utf8_lossy(&library.name);
        if place.is_some() && !replaces {
            return Err(format!("ERR Library '{name}' already exists"));
        }
        for function in &library.functions {
            let taken = self.find(&function.name);
            if taken.is_some_and(|(other, _)| other.name != library.name) {
                let name = String::from_utf8_lossy(&function.name);
                return Err(format!("ERR Function {name} already exists"));
            }
        }
        match place {
            Some(place) => self.libraries[place] = library,
            None => self.libraries.push(library),
        }
        Ok(())
    }

    /// Removes a library; false if there is none of that name.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        let before = self.libraries.len();
        self.libraries.retain(|library| library.name != name);
        self.libraries.len() < before
    }

    /// As it is kept.
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::default();
        writer.byte(VERSION).length(self.libraries.len());
        for library in &self.libraries {
            writer.bytes(&library.name).bytes(&library.code);
            writer.length(library.functions.len());
            for function in &library.functions {
                writer.bytes(&function.name);
                match &function.description {
                    None => writer.byte(0),
                    Some(text) => writer.byte(1).bytes(text),
                };
                writer.length(function.flags.len());
                for flag in &function.flags {
                    writer.bytes(flag.name().as_bytes());
                }
            }
        }
        writer.finish()
    }

    /// # Errors
    /// These bytes are none, or of a newer version.
    pub fn decode(bytes: Bytes) -> Result<Catalog, CodecError> {
        let mut reader = Reader::new(bytes);
        reader.version(VERSION)?;
        let libraries = (0..reader.count(3)?)
            .map(|_| {
                Ok(Library {
                    name: reader.bytes()?,
                    code: reader.bytes()?,
                    functions: (0..reader.count(3)?)
                        .map(|_| read_function(&mut reader))
                        .collect::<Result<_, _>>()?,
                })
            })
            .collect::<Result<_, CodecError>>()?;
        reader.finish()?;
        Ok(Catalog { libraries })
    }
}

fn read_function(reader: &mut Reader) -> Result<Function, CodecError> {
    let name = reader.bytes()?;
    let description = match reader.byte()? {
        0 => None,
        1 => Some(reader.bytes()?),
        mark => return Err(CodecError::Mark(mark)),
    };
    let mut flags = Vec::new();
    for _ in 0..reader.count(1)? {
        // One that only newer versions know means nothing here.
        flags.extend(Flag::named(&reader.bytes()?));
    }
    Ok(Function {
        name,
        description,
        flags,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn library(name: &'static str, functions: &[&'static str]) -> Library {
        let function = |name: &&'static str| Function {
            name: Bytes::from_static(name.as_bytes()),
            description: Some("d".into()).filter(|_| name.len() > 1),
            flags: vec![Flag::NoWrites],
        };
        Library {
            name: name.into(),
            code: format!("#!lua name={name}").into(),
            functions: functions.iter().map(function).collect(),
        }
    }

    #[test]
    fn names_are_taken_once() {
        let mut catalog = Catalog::default();
        assert_eq!(catalog.add(library("a", &["f", "gg"]), false), Ok(()));
        assert_eq!(
            catalog.add(library("a", &["h"]), false),
            Err("ERR Library 'a' already exists".to_owned())
        );
        assert_eq!(
            catalog.add(library("b", &["F"]), true),
            Err("ERR Function F already exists".to_owned())
        );
        assert_eq!(catalog.add(library("a", &["F"]), true), Ok(()));
        assert!(catalog.find(b"f").is_some() && catalog.find(b"gg").is_none());
        assert_eq!(catalog.add(library("b", &["gg"]), false), Ok(()));
        assert_eq!(Catalog::decode(catalog.encode()), Ok(catalog.clone()));
        assert!(catalog.remove(b"a") && !catalog.remove(b"a"));
        assert_eq!(catalog.libraries().len(), 1);
    }
}
