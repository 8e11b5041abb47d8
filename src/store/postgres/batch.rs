//! Many rows in one statement: the shared SQL says what becomes of one row, and from it is derived
//! what becomes of arrays of them. Knows no table.

use std::borrow::Cow;
use std::error::Error;
use std::fmt::Write;

use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

/// One value of a row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Value<'a> {
    /// BIGINT
    Int(i64),
    /// BIGINT, or NULL
    MaybeInt(Option<i64>),
    /// TEXT
    Text(&'a str),
    /// BYTEA
    Bytes(Cow<'a, [u8]>),
    /// BYTEA, or NULL
    MaybeBytes(Option<Vec<u8>>),
}

impl<'a> Value<'a> {
    /// Bytes that stay where they are.
    pub(super) fn bytes(bytes: &'a [u8]) -> Value<'a> {
        Value::Bytes(Cow::Borrowed(bytes))
    }
}

impl ToSql for Value<'_> {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Value::Int(number) => number.to_sql(ty, out),
            Value::MaybeInt(number) => number.to_sql(ty, out),
            Value::Text(text) => text.to_sql(ty, out),
            Value::Bytes(bytes) => (&**bytes).to_sql(ty, out),
            Value::MaybeBytes(bytes) => bytes.as_deref().to_sql(ty, out),
        }
    }

    fn accepts(ty: &Type) -> bool {
        [Type::INT8, Type::TEXT, Type::BYTEA].contains(ty)
    }

    to_sql_checked!();
}

/// What the columns of a statement are, in the order of its parameters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Column {
    /// BIGINT
    Int,
    /// TEXT
    Text,
    /// BYTEA
    Bytes,
}

impl Column {
    fn array(self) -> &'static str {
        match self {
            Column::Int => "BIGINT[]",
            Column::Text => "TEXT[]",
            Column::Bytes => "BYTEA[]",
        }
    }
}

/// Rows for one statement of the shared SQL.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    statement: &'static str,
    columns: &'static [Column],
    /// By column.
    values: Vec<Vec<Value<'a>>>,
}

impl<'a> Batch<'a> {
    pub(super) fn new(statement: &'static str, columns: &'static [Column]) -> Batch<'a> {
        Batch { statement, columns, values: vec![Vec::new(); columns.len()] }
    }

    /// Adds a row: a value for each column.
    pub(super) fn row<const N: usize>(&mut self, row: [Value<'a>; N]) {
        debug_assert_eq!(N, self.columns.len());
        for (column, value) in self.values.iter_mut().zip(row) {
            column.push(value);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many rows.
    pub(super) fn len(&self) -> usize {
        self.values.first().map_or(0, Vec::len)
    }

    /// The statement for arrays.
    pub(super) fn sql(&self) -> String {
        of_arrays(self.statement, self.columns)
    }

    /// An array for each column.
    pub(super) fn parameters(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.values.iter().map(|values| values as &(dyn ToSql + Sync)).collect()
    }
}

/// From a statement about one row to one about arrays: a parameter `$n` becomes the column `pn` of
/// the rows that the arrays make.
fn of_arrays(statement: &str, columns: &[Column]) -> String {
    let mut arrays = String::new();
    let mut names = String::new();
    for (n, column) in (1..).zip(columns) {
        let separator = if n == 1 { "" } else { ", " };
        // writing into memory does not fail
        let _ = write!(arrays, "{separator}${n}::{}", column.array());
        let _ = write!(names, "{separator}p{n}");
    }
    let rows = format!("UNNEST({arrays}) AS u({names})");
    let statement = by_column(statement);
    if let Some((head, tail)) = statement.split_once("VALUES (") {
        let (values, tail) = tail.split_once(')').unwrap_or((tail, ""));
        return format!("{head}SELECT {values} FROM {rows}{tail}");
    }
    let joins = if statement.starts_with("DELETE") { "USING" } else { "FROM" };
    match statement.split_once(" WHERE ") {
        Some((head, condition)) => format!("{head} {joins} {rows} WHERE {condition}"),
        None => statement,
    }
}

fn by_column(statement: &str) -> String {
    statement.replace('$', "u.p")
}

/// From a question about a range of ids to one about those of an array.
pub(super) fn of_ids(statement: &str) -> String {
    statement.replace("BETWEEN $1 AND $2", "= ANY($1)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sql;

    #[test]
    fn a_statement_about_one_row_becomes_one_about_arrays() {
        use Column::{Bytes, Int, Text};
        let put = of_arrays(sql::PUT_DUPLICATE_KEY, &[Bytes, Int]);
        assert_eq!(
            put.split_whitespace().collect::<Vec<_>>().join(" "),
            "INSERT INTO duplicate_key (digest, used) SELECT u.p1, u.p2 \
             FROM UNNEST($1::BYTEA[], $2::BIGINT[]) AS u(p1, p2) \
             ON CONFLICT (digest) DO UPDATE SET used = excluded.used"
        );
        let delete = of_arrays(sql::DELETE_OPENING, &[Text, Text]);
        assert_eq!(
            delete,
            "DELETE FROM opening USING UNNEST($1::TEXT[], $2::TEXT[]) AS u(p1, p2) \
             WHERE login = u.p1 AND owner = u.p2"
        );
        let count = of_arrays(sql::COUNT_TRACE, &[Int, Int, Int]);
        assert_eq!(
            count.split_whitespace().collect::<Vec<_>>().join(" "),
            "UPDATE trace SET instances = instances + u.p1, freed = CASE WHEN instances + u.p1 = 0 \
             THEN u.p2 ELSE NULL END FROM UNNEST($1::BIGINT[], $2::BIGINT[], $3::BIGINT[]) \
             AS u(p1, p2, p3) WHERE id = u.p3"
        );
    }

    #[test]
    fn a_question_about_a_range_becomes_one_about_ids() {
        assert_eq!(
            of_ids(sql::PREVIEWS),
            "SELECT id, data FROM preview WHERE id = ANY($1) ORDER BY id"
        );
    }
}
