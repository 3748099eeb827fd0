//! The bytes of our sketches: whole numbers of variable length, taken from the front of a slice.
//!
//! Guarantee: taking from bytes that may come from anywhere gives `None` where they are none that [`put_number`] and
//! its like wrote; it never panics, and a number has one form only, so that equal states are equal bytes.

/// Appends a number, seven bits a byte, the lowest first.
pub(super) fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Takes a number.
pub(super) fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0_u32..64).step_by(7) {
        let [byte] = take(bytes)?;
        let part = u64::from(byte & 0x7f);
        // Ten bytes have six bits too many; a last byte of 0 says nothing.
        if (part << shift) >> shift != part || (byte == 0 && shift > 0) {
            return None;
        }
        number |= part << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// Takes a number of things that are held in memory.
pub(super) fn take_length(bytes: &mut &[u8]) -> Option<usize> {
    usize::try_from(take_number(bytes)?).ok()
}

/// Takes `N` bytes.
pub(super) fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*taken)
}

/// Takes as many bytes as said.
pub(super) fn take_slice<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(taken)
}

/// Takes a double that is neither NaN nor -0.0: neither is ever written.
pub(super) fn take_double(bytes: &mut &[u8]) -> Option<f64> {
    let number = f64::from_le_bytes(take(bytes)?);
    let is_negative_zero = number == 0.0 && number.is_sign_negative();
    if number.is_nan() || is_negative_zero { None } else { Some(number) }
}
