use std::sync::atomic::AtomicUsize;

use tokio::sync::oneshot;

use super::*;

const LONG: Duration = Duration::from_secs(3600);

#[tokio::test(start_paused = true)]
async fn a_panic_of_an_essential_task_is_a_failure_of_the_node() {
    let tasks = Tasks::new();
    tasks.group().spawn_essential("pump", async { panic!("lost the {}", "journal") });
    let failure = tasks.failed().await;
    assert_eq!(failure, Failure { task: "pump", panic: Some("lost the journal".into()) });
    assert_eq!(failure.to_string(), "the task pump panicked: lost the journal");
    tasks.drain(LONG).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_end_of_an_essential_task_is_a_failure_unless_it_was_asked_for() {
    let tasks = Tasks::new();
    let token = tasks.token();
    tasks.spawn_essential("asked", async move { token.cancelled().await });
    tasks.drain(LONG).await.unwrap();
    assert!(tasks.failed().now_or_never().is_none());

    let tasks = Tasks::new();
    tasks.spawn_essential("unasked", async {});
    assert_eq!(tasks.failed().await, Failure { task: "unasked", panic: None });
}

#[tokio::test(start_paused = true)]
async fn a_panic_while_stopping_is_still_a_failure() {
    let tasks = Tasks::new();
    let token = tasks.token();
    tasks.spawn_essential("pump", async move {
        token.cancelled().await;
        panic!("at the end");
    });
    tasks.drain(LONG).await.unwrap();
    assert_eq!(tasks.failed().await.panic.as_deref(), Some("at the end"));
}

#[tokio::test(start_paused = true)]
async fn the_first_failure_is_the_one_that_is_told() {
    let tasks = Tasks::new();
    let (first, release) = oneshot::channel::<()>();
    tasks.spawn_essential("effect", async {
        let _ = release.await;
    });
    tasks.spawn_essential("cause", async {
        tokio::time::sleep(Duration::from_secs(1)).await;
    });
    assert_eq!(tasks.failed().await.task, "cause");
    drop(first);
    while tasks.running().contains(&"effect") {
        tokio::task::yield_now().await;
    }
    assert_eq!(tasks.failed().await.task, "cause");
}

#[tokio::test(start_paused = true)]
async fn a_service_is_started_again_with_growing_pauses() {
    let tasks = Tasks::new();
    let (starts, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let begun = Instant::now();
    let mut count = 0;
    tasks.spawn_service("reconcile", move || {
        count += 1;
        starts.send(begun.elapsed()).unwrap();
        let run = count;
        async move {
            assert!(run % 2 == 0, "every other run panics");
        }
    });
    let mut at = Vec::new();
    for _ in 0..12 {
        at.push(seen.recv().await.unwrap());
    }
    let pauses: Vec<_> = at.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect();
    assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000]);
    tasks.drain(Duration::ZERO).await.unwrap_err();
    tasks.drain(Duration::from_millis(1)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_service_that_ran_long_is_started_again_soon() {
    let tasks = Tasks::new();
    let (starts, mut seen) = tokio::sync::mpsc::unbounded_channel();
    tasks.spawn_service("relay", move || {
        starts.send(Instant::now()).unwrap();
        tokio::time::sleep(RECOVERED_AFTER)
    });
    let mut last = seen.recv().await.unwrap();
    for _ in 0..5 {
        let next = seen.recv().await.unwrap();
        assert_eq!(next - last, RECOVERED_AFTER + FIRST_PAUSE);
        last = next;
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_whose_factory_panics_is_started_again() {
    let tasks = Tasks::new();
    let (done, told) = oneshot::channel();
    let (mut done, mut runs) = (Some(done), 0);
    tasks.spawn_service("factory", move || {
        runs += 1;
        assert!(runs > 2, "not yet");
        if let Some(done) = done.take() {
            done.send(()).unwrap();
        }
        std::future::pending()
    });
    told.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_detached_task_ends_after_its_caller_is_gone() {
    let tasks = Tasks::new();
    let done = Arc::new(AtomicUsize::new(0));
    let counter = done.clone();
    let call = tasks.run_detached("send", async move {
        tokio::time::sleep(Duration::from_secs(5)).await;
        counter.fetch_add(1, Ordering::SeqCst)
    });
    let cut = tokio::time::timeout(Duration::from_secs(1), call).await;
    assert!(cut.is_err() && done.load(Ordering::SeqCst) == 0);
    tasks.drain(LONG).await.unwrap();
    assert_eq!(done.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn the_result_and_the_panic_of_a_detached_task_reach_the_caller() {
    let tasks = Tasks::new();
    assert_eq!(tasks.run_detached("sum", async { 1 + 1 }).await, Ok(2));
    let failed = tasks.run_detached("sum", async { panic!("no numbers") }).await;
    assert_eq!(failed, Err::<(), _>(TaskError::Panicked { task: "sum", panic: "no numbers".into() }));
    assert!(tasks.running().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_drain_names_who_keeps_it_waiting() {
    let tasks = Tasks::new();
    let token = tasks.token();
    tasks.spawn_essential("quick", async move { token.cancelled().await });
    let _slow = tasks.group().run_detached("slow", tokio::time::sleep(Duration::from_secs(10)));
    let started = Instant::now();
    let timeout = tasks.drain(Duration::from_secs(5)).await.unwrap_err();
    assert_eq!(timeout, DrainTimeout { waited: Duration::from_secs(5), names: vec!["slow"] });
    assert_eq!(
        (timeout.to_string().as_str(), started.elapsed().as_secs()),
        ("still running after 5000 ms: slow", 5)
    );
    tasks.drain(LONG).await.unwrap();
    assert_eq!(started.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_group_ends_without_its_neighbours_and_with_its_parent() {
    let tasks = Tasks::new();
    let (api, pump) = (tasks.group(), tasks.group());
    let stream = api.group();
    for (group, name) in [(&api, "api"), (&stream, "stream"), (&pump, "pump")] {
        let token = group.token();
        group.spawn_essential(name, async move { token.cancelled().await });
    }
    api.drain(LONG).await.unwrap();
    assert_eq!(tasks.running(), ["pump"]);
    assert!(stream.token().is_cancelled() && !pump.token().is_cancelled());
    tasks.drain(LONG).await.unwrap();
    assert!(tasks.running().is_empty() && tasks.failed().now_or_never().is_none());
}
