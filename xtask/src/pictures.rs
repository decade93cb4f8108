//! The pictures of the guide: each is a text in `docs/guide/src/pictures`, with the SVG that is made of it beside it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use pikchr::{Pikchr, PikchrFlags};

const FOLDER: &str = "docs/guide/src/pictures";

/// Draws all pictures anew.
pub(crate) fn draw(root: &Path) -> Result<()> {
    for source in sources(root)? {
        let target = source.with_extension("svg");
        fs::write(&target, render(&source)?).with_context(|| format!("cannot write {}", target.display()))?;
        eprintln!("{}", target.display());
    }
    Ok(())
}

fn sources(root: &Path) -> Result<Vec<PathBuf>> {
    let folder = root.join(FOLDER);
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut sources = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    sources.retain(|path| path.extension().is_some_and(|extension| extension == "pikchr"));
    sources.sort();
    if sources.is_empty() {
        bail!("{} has no picture", folder.display());
    }
    Ok(sources)
}

fn render(source: &Path) -> Result<String> {
    let text = fs::read_to_string(source).with_context(|| format!("cannot read {}", source.display()))?;
    let drawn = Pikchr::render(&text, None, PikchrFlags::default());
    let drawn = drawn.map_err(|error| anyhow!("{}: {error}", source.display()))?.to_string();
    // Pages may be dark.
    let end = drawn.find('>').context("a picture begins with a tag")? + 1;
    let (tag, rest) = drawn.split_at(end);
    Ok(format!("{tag}\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_what_their_texts_say() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for source in sources(root).unwrap() {
            let committed = fs::read_to_string(source.with_extension("svg")).unwrap_or_default();
            assert_eq!(committed, render(&source).unwrap(), "{}: cargo xtask pictures", source.display());
        }
    }
}
