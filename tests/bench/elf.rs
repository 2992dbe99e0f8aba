//! Properties from a binary's ELF headers (elf(5)): whether it is static, and whether it is stripped.

use std::fmt;
use std::fs;
use std::path::Path;

/// A binary file and its size.
pub(crate) struct Binary {
    pub(crate) bytes: u64,
    /// The properties from its headers; `None` if they are not those of a little-endian ELF file of 32 or 64 bits.
    elf: Option<Elf>,
}

struct Elf {
    is_static: bool,
    is_stripped: bool,
}

impl Binary {
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let file =
            fs::read(path).map_err(|error| format!("cannot read `{}`: {error}", path.display()))?;
        Ok(Self {
            bytes: file.len() as u64,
            elf: Elf::read(&file),
        })
    }
}

impl fmt::Display for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, elf } = self;
        let Some(elf) = elf else {
            return write!(f, "{bytes} bytes, no ELF file");
        };
        let linked = if elf.is_static {
            "static"
        } else {
            "dynamically linked"
        };
        let symbols = if elf.is_stripped {
            "stripped"
        } else {
            "not stripped"
        };
        write!(f, "{bytes} bytes, {linked}, {symbols}")
    }
}

/// The offsets in the file header that describe the two header tables; 64-bit files first, then 32-bit ones.
struct Layout {
    word_bytes: usize,
    program_table: usize,
    section_table: usize,
    /// The offset of `e_phentsize`; `e_phnum`, `e_shentsize` and `e_shnum` follow.
    sizes: usize,
}

const LAYOUT_64: Layout = Layout {
    word_bytes: 8,
    program_table: 32,
    section_table: 40,
    sizes: 54,
};
const LAYOUT_32: Layout = Layout {
    word_bytes: 4,
    program_table: 28,
    section_table: 32,
    sizes: 42,
};

impl Elf {
    fn read(file: &[u8]) -> Option<Self> {
        /// A program header that names a dynamic linker.
        const PT_INTERP: usize = 3;
        /// A section that holds the symbol table.
        const SHT_SYMTAB: usize = 2;
        let layout = match file.get(..6)? {
            [0x7f, b'E', b'L', b'F', 2, 1] => LAYOUT_64,
            [0x7f, b'E', b'L', b'F', 1, 1] => LAYOUT_32,
            _ => return None,
        };
        let word = |offset| number(file, offset, layout.word_bytes);
        let half = |offset| number(file, offset, 2);
        let programs = table(
            word(layout.program_table)?,
            half(layout.sizes)?,
            half(layout.sizes + 2)?,
        );
        let sections = table(
            word(layout.section_table)?,
            half(layout.sizes + 4)?,
            half(layout.sizes + 6)?,
        );
        // The type is the first word of a program header and the second of a section header, four bytes each.
        let mut program_types = programs.map(|start| number(file, start, 4));
        let mut section_types = sections.map(|start| number(file, start + 4, 4));
        Some(Self {
            is_static: !program_types.any(|kind| kind == Some(PT_INTERP)),
            is_stripped: !section_types.any(|kind| kind == Some(SHT_SYMTAB)),
        })
    }
}

/// The offsets of a table's entries.
fn table(start: usize, entry_bytes: usize, entries: usize) -> impl Iterator<Item = usize> {
    (0..entries).map(move |index| start + index * entry_bytes)
}

fn number(file: &[u8], offset: usize, bytes: usize) -> Option<usize> {
    let digits = file.get(offset..offset.checked_add(bytes)?)?;
    Some(
        digits
            .iter()
            .rev()
            .fold(0, |sum, digit| sum.wrapping_shl(8) | usize::from(*digit)),
    )
}
