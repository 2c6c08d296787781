//! Lines on their way to the log file, written by a thread of its own.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use tracing_subscriber::fmt::MakeWriter;

use super::rotate::RotatingFile;

/// Lines that may wait for the disk. Whoever logs another one waits as well: the log is the record of what the daemon
/// did with other people's money, so it is late rather than incomplete.
const QUEUE_LINES: usize = 8192;

enum Command {
    Line(Vec<u8>),
    Stop,
}

/// The end of the queue that lines are put in.
#[derive(Clone, Debug)]
pub struct LogQueue(SyncSender<Command>);

/// Keeps the writing thread. Dropped, it waits until every line that was logged before is in the file; lines logged
/// later are lost.
#[derive(Debug)]
#[must_use = "dropping the guard ends the log"]
pub struct LogGuard {
    queue: LogQueue,
    thread: Option<JoinHandle<()>>,
}

/// Starts the thread that writes to `file`.
pub fn spawn(file: RotatingFile) -> io::Result<(LogQueue, LogGuard)> {
    let (sender, receiver) = sync_channel(QUEUE_LINES);
    let queue = LogQueue(sender);
    let thread = thread::Builder::new().name("log".to_owned()).spawn(move || write(file, &receiver))?;
    Ok((queue.clone(), LogGuard { queue, thread: Some(thread) }))
}

fn write(mut file: RotatingFile, lines: &Receiver<Command>) {
    let mut failing = false;
    while let Ok(Command::Line(line)) = lines.recv() {
        match file.write_line(&line) {
            Ok(()) => failing = false,
            // A full disk is told once, not for each line: the log is not the place to tell it.
            Err(error) if !failing => {
                failing = true;
                let _ = writeln!(io::stderr(), "impd: the log file cannot be written: {error}");
            }
            Err(_) => {}
        }
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        let stopping = self.queue.0.send(Command::Stop);
        if let Some(thread) = self.thread.take()
            && stopping.is_ok()
        {
            // A panic of the writer was told by its own hook.
            let _ = thread.join();
        }
    }
}

impl<'w> MakeWriter<'w> for LogQueue {
    type Writer = LineWriter<'w>;

    fn make_writer(&'w self) -> LineWriter<'w> {
        LineWriter { queue: self, line: Vec::new() }
    }
}

/// Collects one line, which goes into the queue when the writer is dropped.
#[derive(Debug)]
pub struct LineWriter<'q> {
    queue: &'q LogQueue,
    line: Vec<u8>,
}

impl Write for LineWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LineWriter<'_> {
    fn drop(&mut self) {
        if !self.line.is_empty() {
            // Fails only after the guard is gone, when there is nobody left to write.
            let _ = self.queue.0.send(Command::Line(std::mem::take(&mut self.line)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn every_line_is_in_the_file_when_the_guard_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.txt");
        let (queue, guard) = spawn(RotatingFile::open(&path, u64::MAX, 1).unwrap()).unwrap();
        // More lines than the queue holds, from several threads.
        thread::scope(|scope| {
            for writer in 0..4 {
                let queue = queue.clone();
                scope.spawn(move || {
                    for line in 0..QUEUE_LINES {
                        let mut out = queue.make_writer();
                        write!(out, "{writer} ").unwrap();
                        writeln!(out, "{line}").unwrap();
                    }
                });
            }
        });
        drop(guard);
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 4 * QUEUE_LINES);
        for writer in 0..4 {
            let mine = text.lines().filter_map(|line| line.strip_prefix(&format!("{writer} ")));
            assert!(
                mine.eq((0..QUEUE_LINES).map(|line| line.to_string())),
                "lines of one thread stay in order"
            );
        }
        // Nobody writes any more, and nobody is held up.
        queue.make_writer().write_all(b"late\n").unwrap();
    }
}
