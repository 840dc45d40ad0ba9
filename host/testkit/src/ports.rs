//! Ports of the loopback interface that nobody else gets while this process lives.
//!
//! A port that the system picks for a listener which is closed again may be given away before it is used: to the next who
//! asks, and to any connection that leaves the machine. So these are from below the range that the system picks from, and
//! a locked file keeps each from the other test processes of the machine.

use std::{
    fs::{File, OpenOptions, TryLockError},
    hash::{BuildHasher as _, RandomState},
    net::TcpListener,
    sync::{Mutex, PoisonError},
};

/// Linux picks from 32768 on, where nobody has set it otherwise.
const FIRST: u16 = 12_000;
const COUNT: u16 = 20_000;

/// A port where nothing listens, and that no other call gets until this process has ended.
pub fn free_port() -> u16 {
    // As many as this process asks for in its life, a file each.
    static RESERVED: Mutex<Vec<File>> = Mutex::new(Vec::new());
    let folder = std::env::temp_dir().join("marquee-test-ports");
    std::fs::create_dir_all(&folder).expect("a folder for the ports' locks");
    // Processes begin at places of their own, so that they seldom meet.
    let start = RandomState::new().hash_one(std::process::id()) % u64::from(COUNT);
    let start = u16::try_from(start).expect("below the count");
    for step in 0..COUNT {
        let port = FIRST + (start + step) % COUNT;
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).write(true);
        let file = file
            .open(folder.join(port.to_string()))
            .expect("a port's lock");
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => continue,
            locked => locked.expect("a port's lock"),
        }
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            let mut reserved = RESERVED.lock().unwrap_or_else(PoisonError::into_inner);
            reserved.push(file);
            return port;
        }
    }
    panic!("none of {COUNT} ports from {FIRST} on is free");
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    #[test]
    fn no_port_is_given_twice() {
        let given: Vec<u16> = std::thread::scope(|scope| {
            let asking = || (0..100).map(|_| super::free_port()).collect::<Vec<_>>();
            let all: Vec<_> = (0..8).map(|_| scope.spawn(asking)).collect();
            all.into_iter()
                .flat_map(|one| one.join().expect("ports"))
                .collect()
        });
        let different: HashSet<&u16> = given.iter().collect();
        assert_eq!(different.len(), given.len());
    }
}
