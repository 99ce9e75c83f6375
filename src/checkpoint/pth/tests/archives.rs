use super::*;

const METHOD_DEFLATED: u16 = 8;

fn good_pickle() -> Vec<u8> {
    state(&[("w", whole(4).value())])
}

fn good() -> Zip {
    Zip::of(&good_pickle(), &numbers(4))
}

#[test]
fn every_cut_and_every_changed_byte_of_an_archive_gives_an_error_or_the_stored_values() {
    let bytes = good().with("a/byteorder", b"little").end();
    for length in 0..bytes.len() {
        assert!(read(bytes[..length].to_vec()).is_err(), "{length} bytes");
    }
    let mut kept = 0;
    for at in 0..bytes.len() {
        for change in [1, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[at] ^= change;
            if let Ok(file) = read(changed) {
                assert_eq!((file.names(), values(&file, "w")), (vec!["w"], vec![0., 1., 2., 3.]));
                kept += 1;
            }
        }
    }
    // Versions, times and attributes of entries mean nothing; all else does.
    assert!(kept > 0 && kept < bytes.len(), "{kept}");
}

#[test]
fn an_entry_twice_and_entries_that_overlap_are_refused() {
    refused(good().with("a/data/0", &numbers(4)).end(), &["holds `a/data/0` twice"]);
    // One content under 400 names.
    let pickle = good_pickle();
    let mut zip = Zip::default().with("a/data.pkl", &pickle);
    let at = zip.bytes.len() as u32;
    zip = zip.local("a/data/0", &numbers(4), METHOD_STORED);
    for _ in 0..400 {
        zip = zip.listed("a/data/0", &numbers(4), at, &[]);
    }
    refused(zip.end(), &["holds `a/data/0` twice"]);
    // An entry inside the content of another.
    let inner = Zip::default().local("a/data/1", &numbers(4), METHOD_STORED).bytes;
    let zip = good().with("a/outer", &inner);
    let at = (zip.bytes.len() - inner.len()) as u32;
    refused(zip.listed("a/data/1", &numbers(4), at, &[]).end(), &["overlap"]);
}

#[test]
fn two_pickles_and_entries_outside_the_folder_are_refused() {
    let pickle = good_pickle();
    let extra = |name: &str| good().with(name, &pickle).end();
    refused(extra("a/xdata.pkl"), &["`a/data.pkl` and `a/xdata.pkl`"]);
    refused(extra("b/data.pkl"), &["`a/data.pkl` and `b/data.pkl`"]);
    refused(extra("b/other"), &["`b/other` outside its folder `a`"]);
    refused(extra("a/constants.pkl"), &["TorchScript"]);
    refused(Zip::default().with("data.pkl", &pickle).end(), &["not in one folder"]);
    refused(Zip::default().with("a/b/data.pkl", &pickle).end(), &["not in one folder"]);
    refused(Zip::default().with("a/version", b"3").end(), &["no data.pkl"]);
    refused(Zip::default().with("a/data.pkl", &pickle).end(), &["no `a/data/0`"]);
    let more = [&pickle[..], b"."].concat();
    refused(Zip::of(&more, &numbers(4)).end(), &["data.pkl goes on after its end"]);
    refused(good().with("a/byteorder", b"big").end(), &["not little-endian"]);
}

#[test]
fn compressed_entries_comments_and_data_after_the_end_are_refused() {
    let pickle = good_pickle();
    let listed_only = Zip::of(&pickle, &numbers(4)).end();
    let list = find(&listed_only, b"PK\x01\x02");
    let mut compressed = listed_only.clone();
    compressed[list + 10] = METHOD_DEFLATED as u8;
    refused(compressed, &["`a/data.pkl` in the archive is compressed"]);
    let mut encrypted = listed_only.clone();
    encrypted[list + 8] = 1;
    refused(encrypted, &["compressed or encrypted"]);
    let local = Zip::default().local("a/data.pkl", &pickle, METHOD_DEFLATED);
    refused(local.listed("a/data.pkl", &pickle, 0, &[]).end(), &["truncated or damaged"]);

    refused([&listed_only[..], b"x"].concat(), &["truncated or damaged"]);
    let mut comment = [&listed_only[..], b"x"].concat();
    comment[listed_only.len() - 2] = 1;
    refused(comment, &["truncated or damaged"]);
    // A second end inside a comment: readers choose one or the other.
    let other = Zip::of(&state(&[("v", whole(4).value())]), &numbers(4)).end();
    let mut two = [&listed_only[..], &other].concat();
    two[listed_only.len() - 2..listed_only.len()]
        .copy_from_slice(&(other.len() as u16).to_le_bytes());
    refused(two, &["truncated or damaged"]);

    let mut content = listed_only.clone();
    let at = find(&content, &numbers(4));
    content[at] ^= 1;
    refused(content, &["`a/data/0` in the archive is damaged", "checksum"]);
}

#[test]
fn the_64_bit_fields_of_large_files_are_read() {
    let (pickle, storage) = (good_pickle(), numbers(4));
    let wide = |content: &[u8], at: u64| {
        let length = (content.len() as u64).to_le_bytes();
        [&b"\x01\x00\x18\x00"[..], &length, &length, &at.to_le_bytes()].concat()
    };
    let zip = Zip::default().local("a/data.pkl", &pickle, METHOD_STORED);
    let second = zip.bytes.len();
    let zip = zip
        .local("a/data/0", &storage, METHOD_STORED)
        .listed("a/data.pkl", &pickle, 0, &wide(&pickle, 0))
        .listed("a/data/0", &storage, 0, &wide(&storage, second as u64));
    let (list_at, list_size) = (zip.bytes.len() as u64, zip.list.len() as u64);
    let end_at = list_at + list_size;
    let end_64 = |count: u64, at: u64| {
        let (count, at) = (count.to_le_bytes(), at.to_le_bytes());
        [
            &b"PK\x06\x06\x2c\0\0\0\0\0\0\0\x1e\x03\x2d\0\0\0\0\0\0\0\0\0"[..],
            &[count, count, list_size.to_le_bytes(), at].concat(),
            b"PK\x06\x07\0\0\0\0",
            &end_at.to_le_bytes(),
            b"\x01\0\0\0",
        ]
        .concat()
    };
    let full_end = [&b"PK\x05\x06\0\0\0\0\x02\0\x02\0"[..], &[0xff; 8], &[0; 2]].concat();
    let small_end = zip_end(list_size as u32, list_at as u32);
    let all = |end_64: Vec<u8>, end: &[u8]| [&zip.bytes[..], &zip.list, &end_64, end].concat();
    // Full 32-bit fields beside small 64-bit ones are two answers; torch writes the smaller of both.
    refused(all(end_64(2, list_at), &full_end), &["truncated or damaged"]);
    let file = read(all(end_64(2, list_at), &small_end)).unwrap();
    assert_eq!(values(&file, "w"), [0., 1., 2., 3.]);
    refused(all(end_64(1, list_at), &small_end), &["truncated or damaged"]);
    refused(all(end_64(2, u64::MAX), &small_end), &["truncated or damaged"]);
    let at = find(&zip.list, b"\x01\x00\x18\x00") + 4;
    let mut lies = all(end_64(2, list_at), &small_end);
    lies[list_at as usize + at..][..8].copy_from_slice(&u64::MAX.to_le_bytes());
    refused(lies, &["truncated or damaged"]);
}

/// The end of an archive of two entries.
fn zip_end(size: u32, at: u32) -> Vec<u8> {
    let place = [size.to_le_bytes(), at.to_le_bytes()].concat();
    [&b"PK\x05\x06\0\0\0\0\x02\0\x02\0"[..], &place, &[0; 2]].concat()
}

/// The first position of `part`.
fn find(bytes: &[u8], part: &[u8]) -> usize {
    bytes.windows(part.len()).position(|window| window == part).unwrap()
}
