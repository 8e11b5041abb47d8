//! Which tables there are, and what is in them, as the layout itself says: so that nobody who walks
//! through all of them can forget one. Knows no engine.

use std::sync::OnceLock;

use super::layout::{self, Dialect};

/// A table.
#[derive(PartialEq, Eq, Debug)]
pub(in crate::store) struct Table {
    /// Its name.
    pub(in crate::store) name: String,
    /// Its columns, in the order in which they were made.
    pub(in crate::store) columns: Vec<Column>,
    /// Which of them are its primary key, in the order of the key.
    pub(in crate::store) key: Vec<usize>,
}

/// A column.
#[derive(PartialEq, Eq, Debug)]
pub(in crate::store) struct Column {
    /// Its name.
    pub(in crate::store) name: String,
    /// What is in it.
    pub(in crate::store) kind: Kind,
}

/// What a column holds; NULL may stand in any.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::store) enum Kind {
    /// A number of 64 bits.
    Int,
    /// Text.
    Text,
    /// Bytes.
    Bytes,
}

/// The tables of the present layout.
pub(in crate::store) fn tables() -> &'static [Table] {
    static TABLES: OnceLock<Vec<Table>> = OnceLock::new();
    TABLES.get_or_init(|| {
        let mut tables = Vec::new();
        for version in 0..layout::VERSION {
            let statements = layout::next(&PLAIN, version).unwrap_or_default();
            statements.split(';').for_each(|statement| take(&mut tables, statement));
        }
        take(&mut tables, super::DROP_OLD_TEXTS);
        tables
    })
}

/// One table of the present layout.
pub(in crate::store) fn table(name: &str) -> Option<&'static Table> {
    tables().iter().find(|table| table.name == name)
}

impl Table {
    /// Where a column is.
    pub(in crate::store) fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// All columns of at most `max` rows in the order of the key: the first ones, or those behind
    /// the row with the key `$1, $2 …`.
    pub(in crate::store) fn select(&self, start: Start, max: usize) -> String {
        let names = |columns: &mut dyn Iterator<Item = usize>| {
            let names = columns.map(|at| self.columns[at].name.as_str());
            names.collect::<Vec<_>>().join(", ")
        };
        let all = names(&mut (0..self.columns.len()));
        let key = names(&mut self.key.iter().copied());
        let behind = match start {
            Start::First => String::new(),
            Start::Behind => {
                let numbers = (1..=self.key.len()).map(|n| format!("${n}")).collect::<Vec<_>>();
                format!(" WHERE ({key}) > ({})", numbers.join(", "))
            }
        };
        format!("SELECT {all} FROM {}{behind} ORDER BY {key} LIMIT {max}", self.name)
    }

    /// One row, whose values are `$1, $2 …`.
    pub(in crate::store) fn insert(&self) -> String {
        let names: Vec<&str> = self.columns.iter().map(|column| column.name.as_str()).collect();
        let numbers: Vec<String> = (1..=names.len()).map(|n| format!("${n}")).collect();
        let (names, numbers) = (names.join(", "), numbers.join(", "));
        format!("INSERT INTO {} ({names}) VALUES ({numbers})", self.name)
    }

    /// How many rows there are.
    pub(in crate::store) fn count(&self) -> String {
        format!("SELECT count(*) FROM {}", self.name)
    }
}

/// Where `Table::select` begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::store) enum Start {
    /// At the first row.
    First,
    /// Behind a key.
    Behind,
}

/// The layout's placeholders as themselves.
const PLAIN: Dialect = Dialect::new("INTEGER", "BLOB", "");

/// What a statement of the layout does to the list. The layout is written by us, in one form.
fn take(tables: &mut Vec<Table>, statement: &str) {
    let statement = statement.trim();
    if let Some(rest) = statement.strip_prefix("CREATE TABLE ") {
        tables.extend(created(rest));
    } else if let Some(rest) = statement.strip_prefix("ALTER TABLE ") {
        let Some((name, column)) = rest.split_once(" ADD COLUMN ") else { return };
        let table = tables.iter_mut().find(|table| table.name == name);
        table.into_iter().for_each(|table| table.columns.extend(self::column(column)));
    } else if let Some(name) = statement.strip_prefix("DROP TABLE ") {
        tables.retain(|table| table.name != name);
    }
}

/// `name (column TYPE …, PRIMARY KEY (…))`
fn created(rest: &str) -> Option<Table> {
    let (name, rest) = rest.split_once('(')?;
    let inside = &rest[..rest.rfind(')')?];
    let mut table = Table { name: name.trim().into(), columns: Vec::new(), key: Vec::new() };
    for part in parts(inside) {
        if let Some(key) = part.strip_prefix("PRIMARY KEY (") {
            let names = key.trim_end_matches(')').split(',');
            table.key = names.filter_map(|name| table.column(name.trim())).collect();
            continue;
        }
        if part.contains("PRIMARY KEY") {
            table.key = vec![table.columns.len()];
        }
        table.columns.extend(column(part));
    }
    Some(table)
}

/// What stands between commas that are in no parentheses.
fn parts(text: &str) -> Vec<&str> {
    let mut depth = 0;
    let between = text.split(|c| {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    });
    between.map(str::trim).collect()
}

/// `name TYPE …`
fn column(part: &str) -> Option<Column> {
    let mut words = part.split_whitespace();
    let name = words.next()?.to_owned();
    let kind = match words.next()? {
        "TEXT" => Kind::Text,
        "BLOB" => Kind::Bytes,
        _ => Kind::Int,
    };
    Some(Column { name, kind })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_its_columns_and_its_key() {
        let turn = table("turn").expect("there");
        let columns: Vec<_> = turn.columns.iter().map(|c| (c.name.as_str(), c.kind)).collect();
        let expected = [
            ("kind", Kind::Int),
            ("account", Kind::Text),
            ("login", Kind::Text),
            ("number", Kind::Int),
        ];
        assert_eq!(columns, expected);
        assert_eq!(turn.key, [0, 1, 2]);
        assert_eq!(
            turn.select(Start::Behind, 5),
            "SELECT kind, account, login, number FROM turn
             WHERE (kind, account, login) > ($1, $2, $3) ORDER BY kind, account, login LIMIT 5"
                .replace("\n            ", "")
        );
        assert_eq!(
            table("envelope").expect("there").insert(),
            "INSERT INTO envelope (id, data) VALUES ($1, $2)"
        );
    }

    #[test]
    fn what_was_added_or_dropped_later_counts() {
        let instance = table("instance").expect("there");
        assert_eq!(instance.columns.last().map(|c| c.name.as_str()), Some("thread"));
        assert_eq!(table("search_text"), None);
        assert!(tables().iter().all(|table| !table.key.is_empty() && !table.columns.is_empty()));
    }
}
