use super::*;

/// Offset, dimensions, strides, elements.
type ViewCase = (i64, &'static [i64], &'static [i64], &'static [f32]);

/// A file with a tensor `w`, a view of a storage of 0, 1, …, 11.
fn view(offset: i64, dims: &[i64], strides: &[i64]) -> Result<PthFile> {
    let sample = Sample { offset, dims: dims.to_vec(), strides: strides.to_vec(), ..whole(12) };
    read(Zip::of(&state(&[("w", sample.value())]), &numbers(12)).end())
}

#[test]
fn views_are_read_in_row_major_order() {
    // Expected: element (i, j) is offset + i·strides[0] + j·strides[1].
    let cases: [ViewCase; 9] = [
        (0, &[2, 3], &[3, 1], &[0., 1., 2., 3., 4., 5.]),
        (6, &[2, 3], &[3, 1], &[6., 7., 8., 9., 10., 11.]),
        (0, &[3, 2], &[1, 3], &[0., 3., 1., 4., 2., 5.]), // transposed
        (1, &[3, 2], &[4, 1], &[1., 2., 5., 6., 9., 10.]), // columns of a wider matrix
        (0, &[1, 4], &[0, 1], &[0., 1., 2., 3.]),         // position ids: expand((1, -1))
        (7, &[2, 2], &[0, 0], &[7., 7., 7., 7.]),         // one value, expanded
        (0, &[2, 1, 2], &[6, 99, 1], &[0., 1., 6., 7.]),
        (11, &[], &[], &[11.]),
        (99, &[0, 5], &[1 << 62, 1 << 62], &[]),
    ];
    for (offset, dims, strides, expected) in cases {
        let file = view(offset, dims, strides).unwrap();
        assert_eq!(values(&file, "w"), expected, "{dims:?} {strides:?}");
        let shape: Vec<i64> = file.dims("w").iter().map(|d| *d as i64).collect();
        assert_eq!(shape, dims);
    }
}

#[test]
fn views_outside_their_storage_are_refused_before_any_element_is_read() {
    let big = 1 << 40;
    let cases: [(i64, &[i64], &[i64]); 6] = [
        (1, &[12], &[1]),
        (12, &[], &[]),
        (0, &[2, 2], &[11, 1]),
        (i64::MAX, &[2], &[i64::MAX]),
        (0, &[3], &[i64::MAX]),
        (0, &[big, big], &[0, 0]), // 2^80 elements
    ];
    for (offset, dims, strides) in cases {
        let message = format!("{:#}", view(offset, dims, strides).map(|_| ()).unwrap_err());
        assert!(message.contains("the tensor `w`: it reaches past its storage `0`"), "{message}");
    }
    let many = format!("{:#}", view(0, &[1; 9], &[0; 9]).map(|_| ()).unwrap_err());
    assert!(many.contains("9 dimensions"), "{many}");
}

#[test]
fn what_every_tensor_copies_is_short() {
    let key = "7".repeat(1000).leak();
    let sample = Sample { key, ..whole(12) };
    let long = read(Zip::of(&state(&[("w", sample.value())]), &numbers(12)).end());
    let long = format!("{:#}", long.map(|_| ()).unwrap_err());
    assert!(long.contains("a storage key has 1000 bytes"), "{long}");
    // Of a storage that the file does not have: a shape is measured before it is copied.
    let sample = Sample { key: "1", dims: vec![1; 1000], ..whole(12) };
    let many = read(Zip::of(&state(&[("w", sample.value())]), &numbers(12)).end());
    let many = format!("{:#}", many.map(|_| ()).unwrap_err());
    assert!(many.contains("it has 1000 dimensions"), "{many}");
}

#[test]
fn views_that_repeat_elements_hold_at_most_16_times_the_file() {
    // 2^36 elements of one, in a file of some hundred bytes.
    let error = format!("{:#}", view(0, &[1 << 36], &[0]).map(|_| ()).unwrap_err());
    assert!(error.contains("`w` of 68719476736 elements"), "{error}");
    // A thousand names of one storage of 40 kB: tied too often.
    let names: Vec<String> = (0..1000).map(|i| i.to_string()).collect();
    let tied = |count: usize| {
        let tensors: Vec<_> =
            names[..count].iter().map(|n| (n.as_str(), whole(10_000).value())).collect();
        Zip::of(&state(&tensors), &numbers(10_000)).end()
    };
    assert_eq!(read(tied(12)).unwrap().names().len(), 12);
    refused(tied(1000), &["more than 16 times the bytes of the file"]);
    // Bytes become f32 when they are taken: four times as large.
    let bytes = Sample { class: "ByteStorage", dims: vec![500], strides: vec![0], ..whole(1) };
    let file = Zip::of(&state(&[("w", bytes.value())]), &[7]).end();
    let most = file.len() * 16 / 4;
    let bytes = Sample { dims: vec![most as i64 + 1], ..bytes };
    refused(Zip::of(&state(&[("w", bytes.value())]), &[7]).end(), &["16 times"]);
    assert_eq!(read(file).unwrap().read("w").unwrap().dims(), [500]);
}

#[test]
fn a_storage_of_another_length_than_the_pickle_says_is_refused() {
    for length in [0, 3, 5] {
        let state = state(&[("w", whole(4).value())]);
        refused(Zip::of(&state, &numbers(length)).end(), &["the storage `0` has", "4 × F32"]);
    }
    let state = state(&[("w", Sample { dims: vec![1], ..whole(i64::MAX) }.value())]);
    refused(Zip::of(&state, &numbers(4)).end(), &["the storage `0` has 16 bytes"]);
}
