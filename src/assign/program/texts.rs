//! Texts that an attribute is compared with.

/// The texts that conditions on an attribute name, each with the conditions that hold of it.
#[derive(Debug, Clone)]
pub(super) struct Texts {
    /// Open addressing: numbers of texts. A power of two of slots, at least half of them `FREE`.
    slots: Box<[u8]>,
    known: Box<[Text]>,
    /// The texts that are longer than `SHORT`, one after the other.
    long: Box<[u8]>,
}

#[derive(Debug, Clone)]
struct Text {
    key: u64,
    len: u32,
    /// Where a long one begins.
    start: u32,
    /// The bits of the conditions.
    held: u64,
}

const FREE: u8 = u8::MAX;

/// The longest text that its length and its key tell from all others, in bytes.
const SHORT: usize = 8;

impl Texts {
    /// The most texts: their numbers are below `FREE`.
    pub(super) const MAX: usize = FREE as usize;

    /// From distinct texts with the bits of the conditions that hold of them. Nothing if there are
    /// too many, or too long ones.
    pub(super) fn new(held: &[(&str, u64)]) -> Option<Self> {
        if held.len() > Self::MAX {
            return None;
        }
        let mut long = Vec::new();
        let mut texts = Vec::new();
        for (text, held) in held {
            let (key, len) = (key(text.as_bytes()), u32::try_from(text.len()).ok()?);
            texts.push(Text { key, len, start: u32::try_from(long.len()).ok()?, held: *held });
            if text.len() > SHORT {
                long.extend_from_slice(text.as_bytes());
            }
        }
        let mut slots = vec![FREE; (held.len() * 2).next_power_of_two()];
        for (text, number) in texts.iter().zip(0..) {
            let mut at = start(text.key, slots.len());
            while slots.get(at).is_some_and(|number| *number != FREE) {
                at = (at + 1) & (slots.len() - 1);
            }
            *slots.get_mut(at)? = number;
        }
        Some(Self { slots: slots.into(), known: texts.into(), long: long.into() })
    }

    /// The bits of the conditions that hold of a text.
    #[inline]
    pub(super) fn held(&self, text: &str) -> u64 {
        let text = text.as_bytes();
        let key = key(text);
        let mut at = start(key, self.slots.len());
        // Ends at a free slot at the latest.
        while let Some(own) =
            self.slots.get(at).and_then(|number| self.known.get(usize::from(*number)))
        {
            if own.key == key && own.len as usize == text.len() && self.is_rest(own, text) {
                return own.held;
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
        0
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        size_of_val(&*self.slots) + size_of_val(&*self.known) + self.long.len()
    }

    /// Whether a text of the same key and length is the same.
    #[inline]
    fn is_rest(&self, own: &Text, text: &[u8]) -> bool {
        let start = own.start as usize;
        text.len() <= SHORT || self.long.get(start..start + text.len()) == Some(text)
    }
}

/// A number made of the first and the last bytes: of all, if they are at most `SHORT`.
#[inline]
fn key(text: &[u8]) -> u64 {
    if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
        let rest = if text.len() > SHORT { u64::from_le_bytes(*last) } else { 0 };
        return u64::from_le_bytes(*first) ^ rest.rotate_left(29);
    }
    if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
        return u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32;
    }
    match *text {
        [one] => u64::from(one),
        [one, two] => u64::from(u16::from_le_bytes([one, two])),
        [one, two, three] => u64::from(u32::from_le_bytes([one, two, three, 0])),
        _ => 0,
    }
}

/// The slot at which the search for a key begins. The upper bits of the product are mixed best.
#[inline]
fn start(key: u64, slots: usize) -> usize {
    let mixed = (key ^ key >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48;
    mixed as usize & (slots - 1)
}
