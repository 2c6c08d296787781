//! Bringing the schema up to date: forward only, after a copy.

use std::path::Path;

use rusqlite::Connection;

use crate::store::StoreError;

mod embedded {
    refinery::embed_migrations!("src/store/sqlite/migrations");
}

/// Applies what is missing. A database that has rows is copied into `backup_dir` first; a newer one is refused.
pub(super) fn migrate(connection: &mut Connection, backup_dir: &Path) -> Result<(), StoreError> {
    let runner = embedded::migrations::runner();
    let known = runner.get_migrations().iter().map(|migration| i64::from(migration.version())).max();
    let known = known.unwrap_or(0);
    match schema(connection)? {
        Some(found) if found > known => return Err(StoreError::NewerSchema { found, known }),
        Some(found) if found < known => back_up(connection, backup_dir, found)?,
        Some(_) => return Ok(()),
        None => {}
    }
    runner.run(connection).map_err(failed)?;
    Ok(())
}

/// The schema of a database; nothing where it has none.
fn schema(connection: &Connection) -> Result<Option<i64>, StoreError> {
    let kept = connection
        .prepare("SELECT 1 FROM sqlite_master WHERE name = 'refinery_schema_history'")?
        .exists([])?;
    if !kept {
        return Ok(None);
    }
    Ok(connection.query_row("SELECT max(version) FROM refinery_schema_history", [], |row| row.get(0))?)
}

/// A copy of a database with schema `found`. One of the same name is an earlier try of the same migration.
fn back_up(connection: &Connection, backup_dir: &Path, found: i64) -> Result<(), StoreError> {
    let copy = backup_dir.join(format!("imp-schema-{found}.db"));
    let file_error = |reason: String| StoreError::File { path: copy.display().to_string(), reason };
    std::fs::create_dir_all(backup_dir).map_err(|error| file_error(error.to_string()))?;
    if copy.exists() {
        return Ok(());
    }
    let partial = copy.with_extension("partial");
    if partial.exists() {
        std::fs::remove_file(&partial).map_err(|error| file_error(error.to_string()))?;
    }
    let target = partial.to_str().ok_or_else(|| file_error("the path is not UTF-8".to_owned()))?;
    connection.execute("VACUUM INTO ?1", [target])?;
    std::fs::rename(&partial, &copy).map_err(|error| file_error(error.to_string()))
}

fn failed(error: refinery::Error) -> StoreError {
    StoreError::Database(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_schema_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, dir.path()).unwrap();
        let newest: i64 = connection
            .query_row("SELECT max(version) FROM refinery_schema_history", [], |row| row.get(0))
            .unwrap();
        connection
            .execute(
                "INSERT INTO refinery_schema_history (version, name, applied_on, checksum)
                 SELECT version + 1, 'later', applied_on, checksum FROM refinery_schema_history
                 WHERE version = ?1",
                [newest],
            )
            .unwrap();
        let refused = migrate(&mut connection, dir.path());
        assert_eq!(refused, Err(StoreError::NewerSchema { found: newest + 1, known: newest }));
    }

    #[test]
    fn a_copy_holds_what_the_database_held() {
        let dir = tempfile::tempdir().unwrap();
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE t (n INTEGER); INSERT INTO t VALUES (7)").unwrap();
        let backup = dir.path().join("backup");
        back_up(&connection, &backup, 1).unwrap();
        back_up(&connection, &backup, 1).unwrap();
        let copy = Connection::open(backup.join("imp-schema-1.db")).unwrap();
        let n: i64 = copy.query_row("SELECT n FROM t", [], |row| row.get(0)).unwrap();
        assert_eq!(n, 7);
    }
}
