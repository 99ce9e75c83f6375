//! The structs of a Parquet file's metadata and page headers, as parquet.thrift of Apache Parquet
//! defines them. A field that is not listed is skipped by its type.

use super::thrift::ThriftType::{self, Binary, Bool, Byte, Double, List, Struct, I16, I32, I64};

/// Fields by their id.
type FieldShapes = &'static [(i64, ThriftType)];

const EMPTY: ThriftType = Struct(&[]);

/// `FileMetaData`; its field 2 is the schema.
pub(super) const FILE: FieldShapes = &[
    (1, I32),
    (2, List(&Struct(SCHEMA_ELEMENT))),
    (3, I64),
    (4, List(&ROW_GROUP)),
    (5, List(&KEY_VALUE)),
    (6, Binary),
    (7, List(&Struct(&[(1, EMPTY), (2, EMPTY), (3, EMPTY)]))),
];

/// `SchemaElement`; its field 5 is the number of children.
pub(super) const SCHEMA_ELEMENT: FieldShapes = &[
    (1, I32),
    (2, I32),
    (3, I32),
    (4, Binary),
    (5, I32),
    (6, I32),
    (7, I32),
    (8, I32),
    (9, I32),
    (10, LOGICAL_TYPE),
];

const LOGICAL_TYPE: ThriftType = Struct(&[
    (1, EMPTY),
    (2, EMPTY),
    (3, EMPTY),
    (4, EMPTY),
    (5, Struct(&[(1, I32), (2, I32)])),
    (6, EMPTY),
    (7, TIME),
    (8, TIME),
    (10, Struct(&[(1, Byte), (2, Bool)])),
    (11, EMPTY),
    (12, EMPTY),
    (13, EMPTY),
    (14, EMPTY),
    (15, EMPTY),
    (16, Struct(&[(1, Byte)])),
    (17, Struct(&[(1, Binary)])),
    (18, Struct(&[(1, Binary), (2, I32)])),
]);

const TIME: ThriftType = Struct(&[(1, Bool), (2, Struct(&[(1, EMPTY), (2, EMPTY), (3, EMPTY)]))]);

const KEY_VALUE: ThriftType = Struct(&[(1, Binary), (2, Binary)]);

const ROW_GROUP: ThriftType = Struct(&[
    (1, List(&COLUMN_CHUNK)),
    (2, I64),
    (3, I64),
    (4, List(&Struct(&[(1, I32), (2, Bool), (3, Bool)]))),
    (5, I64),
    (6, I64),
    (7, I16),
]);

const COLUMN_CHUNK: ThriftType = Struct(&[
    (1, Binary),
    (2, I64),
    (3, COLUMN_METADATA),
    (4, I64),
    (5, I32),
    (6, I64),
    (7, I32),
    (9, Binary),
]);

const COLUMN_METADATA: ThriftType = Struct(&[
    (1, I32),
    (2, List(&I32)),
    (3, List(&Binary)),
    (4, I32),
    (5, I64),
    (6, I64),
    (7, I64),
    (8, List(&KEY_VALUE)),
    (9, I64),
    (10, I64),
    (11, I64),
    (12, STATISTICS),
    (13, List(&Struct(&[(1, I32), (2, I32), (3, I32)]))),
    (14, I64),
    (15, I32),
    (16, Struct(&[(1, I64), (2, List(&I64)), (3, List(&I64))])),
    (17, Struct(&[(1, BOUNDING_BOX), (2, List(&I32))])),
]);

const BOUNDING_BOX: ThriftType = Struct(&[
    (1, Double),
    (2, Double),
    (3, Double),
    (4, Double),
    (5, Double),
    (6, Double),
    (7, Double),
    (8, Double),
]);

const STATISTICS: ThriftType = Struct(&[
    (1, Binary),
    (2, Binary),
    (3, I64),
    (4, I64),
    (5, Binary),
    (6, Binary),
    (7, Bool),
    (8, Bool),
    (9, I64),
]);

/// `PageHeader`; its fields 2 and 3 are the sizes, 5 and 8 the header of a data page.
pub(super) const PAGE: FieldShapes = &[
    (1, I32),
    (2, I32),
    (3, I32),
    (4, I32),
    (5, Struct(PAGE_VERSION_1)),
    (6, EMPTY),
    (7, Struct(&[(1, I32), (2, I32), (3, Bool)])),
    (8, Struct(PAGE_VERSION_2)),
];

/// `DataPageHeader`; its field 1 is the number of values.
pub(super) const PAGE_VERSION_1: FieldShapes =
    &[(1, I32), (2, I32), (3, I32), (4, I32), (5, STATISTICS)];

/// `DataPageHeaderV2`; its field 1 is the number of values, its fields 5 and 6 are the lengths of levels, 7 whether it is compressed.
pub(super) const PAGE_VERSION_2: FieldShapes =
    &[(1, I32), (2, I32), (3, I32), (4, I32), (5, I32), (6, I32), (7, Bool), (8, STATISTICS)];
