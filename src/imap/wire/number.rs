//! Numbers in decimal, without the machinery of `fmt`: a listing of 100,000 messages writes half a
//! million of them.

/// Most digits of a `u64`.
const DIGITS_MAX: usize = 20;

/// Appends `number`.
pub fn write(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0u8; DIGITS_MAX];
    let mut at = DIGITS_MAX;
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_are_written_as_fmt_writes_them() {
        for number in [0, 1, 9, 10, 99, 100, 4_294_967_295, 12_345_678_901, u64::MAX] {
            let mut out = Vec::new();
            super::write(&mut out, number);
            assert_eq!(String::from_utf8_lossy(&out), number.to_string());
        }
    }
}
