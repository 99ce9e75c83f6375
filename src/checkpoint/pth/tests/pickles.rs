use super::super::pickle::{Pickle, PickledValue};
use super::*;

/// The entry `w` with four elements.
fn w() -> (&'static str, Vec<u8>) {
    ("w", whole(4).value())
}

#[test]
fn a_state_dict_of_protocol_2_and_of_protocol_4_is_read_alike() {
    let short = |text: &str| [b"\x8c", &[text.len() as u8][..], text.as_bytes(), b"\x94"].concat();
    let global =
        |module: &str, name: &str| [&short(module)[..], &short(name), b"\x93\x94"].concat();
    let dict = [&global("collections", "OrderedDict")[..], b")R\x94"].concat();
    let storage = [
        &b"("[..],
        &short("storage"),
        &global("torch", "FloatStorage"),
        &[short("0"), short("cpu"), b"K\x04t\x94Q".to_vec()].concat(),
    ];
    let tensor = [
        global("torch._utils", "_rebuild_tensor_v2"),
        b"(".to_vec(),
        storage.concat(),
        b"K\x00K\x04\x85\x94K\x01\x85\x94\x89h\x02)R\x94t\x94R\x94".to_vec(),
    ];
    let body = [&dict[..], &short("w"), &tensor.concat(), b"s."].concat();
    let new = [b"\x80\x04\x95", &(body.len() as u64).to_le_bytes()[..], &body].concat();
    for pickle in [state(&[w()]), new] {
        let file = read(Zip::of(&pickle, &numbers(4)).end()).unwrap();
        assert_eq!(file.names(), ["w"]);
        assert_eq!((file.dims("w"), values(&file, "w")), (vec![4], vec![0.0, 1.0, 2.0, 3.0]));
    }
}

#[test]
fn the_memo_keeps_references_as_python_does() {
    // d = {}; d["a"] = 1 after d went into the memo; (d, d)
    let (pickle, length) = Pickle::parse(b"}q\x00X\x01\0\0\0aK\x01sh\x00\x86.rest").unwrap();
    assert_eq!(length, 16);
    let [one, other] = pickle.tuple(pickle.root()).unwrap() else { panic!() };
    assert_eq!(one, other);
    let [(key, value)] = pickle.entries(*one).unwrap() else { panic!() };
    assert_eq!((pickle.text(*key), pickle.get(*value)), (Some("a"), &PickledValue::Int(1)));
}

#[test]
fn numbers_of_every_opcode_are_read() {
    let cases: [(&[u8], i64); 9] = [
        (b"K\xff", 255),
        (b"M\x00\x80", 32768),
        (b"J\xff\xff\xff\xff", -1),
        (b"\x8a\x00", 0),
        (b"\x8a\x01\xff", -1),
        (b"\x8a\x02\x00\x80", -32768),
        (b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f", i64::MAX),
        (b"I-7\n", -7),
        (b"L7L\n", 7),
    ];
    for (opcodes, value) in cases {
        let bytes = [opcodes, b"."].concat();
        let (pickle, _) = Pickle::parse(&bytes).unwrap();
        assert_eq!(*pickle.get(pickle.root()), PickledValue::Int(value), "{opcodes:?}");
    }
    let wide = Pickle::parse(b"\x8a\x09\x01\x00\x00\x00\x00\x00\x00\x00\x00.").unwrap_err();
    assert!(wide.to_string().contains("64 bits"), "{wide}");
}

#[test]
fn nesting_and_sharing_cost_no_more_than_the_pickle() {
    let nested = |depth: usize| [b")", &vec![0x85; depth][..]].concat();
    pickle_refused(&pickle(&nested(3_000_000)), &["more than 2097152 opcodes"]);
    pickle_refused(&pickle(&nested(2_000_000)), &["not a state dict", "a tuple"]);
    // Each line doubles what the memo holds: 2^100,000 leaves as a tree.
    let doubled = [b")q\x00", &b"h\x00\x86q\x00".repeat(100_000)[..]].concat();
    pickle_refused(&pickle(&doubled), &["not a state dict"]);
    let calls = [TENSOR.as_bytes(), &b")R".repeat(1_000_000)].concat();
    pickle_refused(&pickle(&calls), &["damaged at byte", "not a function"]);
    // The same below `_metadata`, where values are walked; and a list that holds itself.
    for deep in [nested(2_000_000), doubled, b"]q\x00h\x00a".to_vec()] {
        let state = state(&[w(), ("_metadata", deep)]);
        assert_eq!(read(Zip::of(&state, &numbers(4)).end()).unwrap().names(), ["w"]);
    }
}

#[test]
fn a_count_of_gigabytes_is_the_end_of_a_small_file() {
    for opcodes in [&b"X\xff\xff\xff\xff"[..], b"B\xff\xff\xff\xff", b"\x95\0\0\0\0\0\0\0\x7f"] {
        pickle_refused(&pickle(opcodes), &["the file ends early"]);
    }
    // Nothing is reserved for a memo index of 4 billion.
    let state = pickle(&[&b"}r\xff\xff\xff\xff"[..], &entries(&[w()])].concat());
    read(Zip::of(&state, &numbers(4)).end()).unwrap();
}

#[test]
fn every_other_global_and_opcode_is_refused_by_its_name() {
    for (global, name) in [
        ("cos\nsystem\n", "`os.system`"),
        ("ctorch.storage\n_load_from_bytes\n", "`torch.storage._load_from_bytes`"),
        ("ccollections\ndefaultdict\n", "`collections.defaultdict`"),
        ("ctorch._utils\n_rebuild_tensor_v2.__globals__\n", "_rebuild_tensor_v2.__globals__`"),
    ] {
        pickle_refused(&pickle(global.as_bytes()), &[name, "nothing was run"]);
    }
    let dynamic = [&text("os")[..], &text("system"), b"\x93"].concat();
    pickle_refused(&pickle(&dynamic), &["`os.system`", "nothing was run"]);
    for (opcode, name) in [
        (b"\x81", "NEWOBJ 0x81 at byte 3"),
        (b"i", "INST 0x69 at byte 3"),
        (b"\xff", "0xff at byte 3"),
    ] {
        pickle_refused(&pickle(&[b"N", &opcode[..]].concat()), &[name, "nothing was run"]);
    }
}

#[test]
fn opcodes_without_their_values_are_refused_with_their_place() {
    for (opcodes, words) in [
        (&b"R"[..], "at byte 2, REDUCE 0x52: a value is missing"),
        (b"\x86", "at byte 2, 0x86: a value is missing"),
        (b"N(\x85", "at byte 4, 0x85: a value is missing"), // not across a mark
        (b"t", "a mark is missing"),
        (b"N(Nu", "a key without a value"),
        (b"N(u", "not a dict"),
        (b"NNa", "not a list"),
        (b"h\x07", "it did not keep"),
        (b"NN\x93", "a name is not a text"),
        (b"NNb", "sets attributes"),
        (b"", "without a value"),
        (b"NN", "more than one value"),
        (b"N(", "more than one value"),
        (b"\x80\x06N", "protocol 6"),
        (b"X\x01\0\0\0\xff", "not UTF-8"),
        (b"Ione\n", "a number of the pickle"),
    ] {
        pickle_refused(&pickle(opcodes), &[words]);
    }
}

#[test]
fn a_name_twice_is_refused_wherever_it_stands() {
    pickle_refused(&state(&[w(), ("b", whole(4).value()), w()]), &["the name `w` twice"]);
    let in_two_steps = [&b"}"[..], &entries(&[w()]), &entries(&[w()])].concat();
    pickle_refused(&pickle(&in_two_steps), &["the name `w` twice"]);
    let metadata = [&b"}"[..], &entries(&[("v", int(1)), ("v", int(2))])].concat();
    pickle_refused(&state(&[w(), ("_metadata", metadata)]), &["the name `v` twice"]);
}

#[test]
fn attributes_of_the_dict_are_metadata_of_plain_values() {
    let built = |attributes: &[(&str, Vec<u8>)]| {
        let attributes = [&b"}"[..], &entries(attributes), b"b"].concat();
        pickle(&[ORDERED_DICT.as_bytes(), &entries(&[w()]), &attributes].concat())
    };
    let version = [ORDERED_DICT.as_bytes(), &entries(&[("", b"}".to_vec())])].concat();
    let good = built(&[("_metadata", version)]);
    assert_eq!(read(Zip::of(&good, &numbers(4)).end()).unwrap().names(), ["w"]);
    pickle_refused(&built(&[("w", whole(4).value())]), &["attributes", "`_metadata`"]);
    pickle_refused(&built(&[("_metadata", whole(4).value())]), &["a tensor outside"]);
    let class = b"ctorch\nFloatStorage\n".to_vec();
    pickle_refused(&built(&[("_metadata", class)]), &["a class or a function outside"]);
    let plain_dict = pickle(&[&b"}"[..], &entries(&[w()]), b"}b"].concat());
    pickle_refused(&plain_dict, &["not an ordered dict"]);
    let with_items = pickle(b"ccollections\nOrderedDict\n]\x85R");
    pickle_refused(&with_items, &["an ordered dict with arguments"]);
}

#[test]
fn a_value_that_is_not_exactly_a_tensor_is_refused() {
    let parameter = |tensor: &[u8], rest: &[u8]| {
        [b"ctorch._utils\n_rebuild_parameter\n(", tensor, rest, b"tR"].concat()
    };
    let one = parameter(&whole(4).value(), b"\x89N");
    let file = read(Zip::of(&state(&[("p", one.clone())]), &numbers(4)).end()).unwrap();
    assert_eq!(values(&file, "p"), [0.0, 1.0, 2.0, 3.0]);

    let call = |more: &[u8]| [TENSOR.as_bytes(), b"(", &whole(4).arguments(), more, b"tR"].concat();
    let negative = [&b"}"[..], &entries(&[("neg", b"\x88".to_vec())])].concat();
    let with = |change: fn(&mut Sample)| {
        let mut sample = whole(4);
        change(&mut sample);
        sample.value()
    };
    // A legacy file may say that a storage is part of another; torch writes None.
    let part = |part: &[u8]| {
        let storage = whole(4).storage();
        let storage = [&storage[..storage.len() - 2], part, b"tQ"].concat();
        let arguments = whole(4).arguments();
        let rest = &arguments[whole(4).storage().len()..];
        [TENSOR.as_bytes(), b"(", &storage, rest, b"tR"].concat()
    };
    read(Zip::of(&state(&[("x", part(b"N"))]), &numbers(4)).end()).unwrap();
    let twice = state(&[w(), ("x", with(|s| s.class = "LongStorage"))]);
    pickle_refused(&twice, &["the tensor `x`", "`0` is given with two types"]);
    for (value, words) in [
        (int(1), "it is a number, not a tensor"),
        (parameter(&one, b"\x89N"), "a parameter of a value that is not a tensor"),
        (parameter(&whole(4).value(), b""), "a parameter has"),
        (call(&negative), "it has metadata"),
        (call(b"NN"), "it has metadata"),
        ([TENSOR.as_bytes(), b")R"].concat(), "too few arguments"),
        (part(b"K\x00"), "part of another"),
        (with(|s| s.dims = vec![-1]), "a size is negative"),
        (with(|s| s.offset = -1), "a size is negative"),
        (with(|s| s.class = "IntStorage"), "stored as IntStorage"),
        (with(|s| s.dims = vec![2, 2]), "differ in length"),
        (with(|s| s.key = "../0"), "no `a/data/../0`"),
    ] {
        pickle_refused(&state(&[("x", value)]), &[words]);
    }
    pickle_refused(
        &pickle(&[b"}", &int(1)[..], &whole(4).value(), b"s"].concat()),
        &["not a text"],
    );
    pickle_refused(&pickle(b"}"), &["it has no tensors"]);
}
