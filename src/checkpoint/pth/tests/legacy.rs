use super::super::LEGACY_MAGIC;
use super::*;

/// A legacy file: protocol, state dict, keys, and storages with their counts.
fn legacy(protocol: i64, keys: &[&str], storages: &[(i64, usize)]) -> Vec<u8> {
    let keys: Vec<u8> = keys.iter().flat_map(|key| text(key)).collect();
    let keys = pickle(&[b"](", &keys[..], b"e"].concat());
    let state = state(&[("w", whole(4).value())]);
    let mut bytes = [LEGACY_MAGIC, &pickle(&int(protocol)), &pickle(b"}"), &state, &keys].concat();
    for (count, elements) in storages {
        bytes.extend(count.to_le_bytes());
        bytes.extend(numbers(*elements));
    }
    bytes
}

#[test]
fn a_legacy_file_is_read_to_its_last_byte() {
    let bytes = legacy(1001, &["0"], &[(4, 4)]);
    assert_eq!(values(&read(bytes.clone()).unwrap(), "w"), [0., 1., 2., 3.]);
    for length in 0..bytes.len() {
        assert!(read(bytes[..length].to_vec()).is_err(), "{length} bytes");
    }
    refused([&bytes[..], b"x"].concat(), &["goes on after its last storage"]);
}

#[test]
fn legacy_storages_are_each_there_once_and_of_the_length_that_the_pickle_says() {
    refused(legacy(1002, &["0"], &[(4, 4)]), &["another protocol than 1001"]);
    refused(legacy(1001, &["0", "0"], &[(4, 4), (4, 4)]), &["the storage `0` twice"]);
    refused(legacy(1001, &["1"], &[(4, 4)]), &["no tensor uses the storage `1`"]);
    refused(legacy(1001, &[], &[]), &["the storage of `w` is missing"]);
    refused(legacy(1001, &["0"], &[(3, 3)]), &["the storage `0` has 12 bytes", "4 × F32"]);
    for count in [5, i64::MAX, -1] {
        refused(legacy(1001, &["0"], &[(count, 4)]), &["the file ends early"]);
    }
}
