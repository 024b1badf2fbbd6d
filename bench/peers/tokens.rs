// What the peers in Rust share: texts in, one pass for the sum of the ids, then so many for the time.

use std::io::BufRead;
use std::time::Instant;

fn processor_time() -> f64 {
    unsafe {
        let mut u: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut u);
        let seconds = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 / 1e6;
        seconds(u.ru_utime) + seconds(u.ru_stime)
    }
}

pub fn run(version: &str, path: &str, repeats: &str, encode: impl Fn(&str) -> Vec<u32>) {
    let file = std::io::BufReader::new(std::fs::File::open(path).unwrap());
    let texts: Vec<String> = file
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(&line.unwrap()).unwrap()["text"].as_str().unwrap().to_string())
        .collect();
    let startup = processor_time();
    let (mut sum, mut kept) = (0u64, 0usize);
    for text in &texts {
        for (i, id) in encode(text).iter().enumerate() {
            sum = sum.wrapping_add((i as u64 + 1) * *id as u64);
            kept += 1;
        }
    }
    let (begin, started) = (processor_time(), Instant::now());
    for _ in 0..repeats.parse::<usize>().unwrap() {
        for text in &texts {
            std::hint::black_box(encode(text));
        }
    }
    let (cpu, wall) = (processor_time() - begin, started.elapsed().as_secs_f64());
    let bytes: usize = texts.iter().map(|t| t.len()).sum();
    println!(
        "{}",
        serde_json::json!({"version": version, "startup": startup, "rows": texts.len(), "bytes": bytes, "kept": kept,
            "sum": sum.to_string(), "phases": {"passes": cpu}, "walls": {"passes": wall}})
    );
}
