//! The ratings that the demo sends, made from a seed.
//!
//! Promises: the same seed and sizes give the same plan on every machine; no user rates a film twice, so that the
//! order in which ratings arrive cannot matter; users of different plans have different names, whether the plans differ
//! by what was asked for or by the release that drew them. A few films have most ratings (Zipf-Mandelbrot), as have a
//! few users; every film has a quality and every user a mood.

use std::collections::HashSet;

use rand::{
    RngExt as _, SeedableRng as _,
    distr::{Distribution as _, weighted::WeightedIndex},
    rngs::Xoshiro256PlusPlus as Luck,
    seq::SliceRandom as _,
};
use sha2::{Digest as _, Sha256};

use crate::films;

/// Which plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Where the draws begin.
    pub seed: u64,
    /// How many films.
    pub films: usize,
    /// How many users.
    pub users: usize,
    /// How many ratings.
    pub ratings: usize,
}

/// One rating of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rating {
    /// The user's place.
    pub user: usize,
    /// The film's place in the sample.
    pub film: usize,
    /// 1 to 10.
    pub value: u8,
}

/// A plan cannot be made.
#[derive(Debug, thiserror::Error)]
#[error(
    "{users} users cannot give {ratings} ratings to {films} films, as each rates a film at most once; ask for at most {most} ratings"
)]
pub struct TooMany {
    users: usize,
    ratings: usize,
    films: usize,
    most: usize,
}

/// The ratings, in the order in which they are sent.
#[derive(Debug)]
pub struct Plan {
    size: Size,
    prefix: String,
    /// What is sent.
    pub ratings: Vec<Rating>,
}

impl Plan {
    /// Draws a plan.
    ///
    /// # Errors
    /// When there are more ratings than pairs of a user and a film.
    pub fn draw(size: Size) -> Result<Self, TooMany> {
        let most = size.users.saturating_mul(size.films);
        if size.ratings > most {
            return Err(TooMany {
                users: size.users,
                ratings: size.ratings,
                films: size.films,
                most,
            });
        }
        let mut luck = Luck::seed_from_u64(size.seed);
        let popularity = Weights::zipf(size.films, FILM_FLATNESS, FILM_SLOPE, &mut luck);
        let activity = Weights::zipf(size.users, USER_FLATNESS, USER_SLOPE, &mut luck);
        let quality: Vec<f64> = (0..size.films)
            .map(|_| (QUALITY + QUALITY_SPREAD * bell(&mut luck)).clamp(3.0, 9.3))
            .collect();
        let mood: Vec<f64> = (0..size.users)
            .map(|_| MOOD_SPREAD * bell(&mut luck))
            .collect();
        let mut taken = HashSet::with_capacity(size.ratings);
        let mut ratings = Vec::with_capacity(size.ratings);
        while ratings.len() < size.ratings {
            let pair = (0..DRAWS)
                .map(|_| (activity.draw(&mut luck), popularity.draw(&mut luck)))
                .find(|pair| !taken.contains(pair))
                .unwrap_or_else(|| next_free(size, &taken, &mut luck));
            taken.insert(pair);
            let (user, film) = pair;
            let liking = quality.get(film).copied().unwrap_or(QUALITY)
                + mood.get(user).copied().unwrap_or(0.0)
                + TASTE_SPREAD * bell(&mut luck);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "clamped to 1 to 10"
            )]
            let value = liking.round().clamp(1.0, 10.0) as u8;
            ratings.push(Rating { user, film, value });
        }
        Ok(Self {
            size,
            prefix: format!("demo-{}-{}", size.seed, fingerprint(size, &ratings)),
            ratings,
        })
    }

    /// What it was drawn from.
    #[must_use]
    pub fn size(&self) -> Size {
        self.size
    }

    /// The name of the user at a place: another in every plan.
    #[must_use]
    pub fn user(&self, place: usize) -> String {
        format!("{}-{place:05}", self.prefix)
    }
}

/// The first free pair from a random place on: ends where draws by weight find only taken ones.
fn next_free(size: Size, taken: &HashSet<(usize, usize)>, luck: &mut Luck) -> (usize, usize) {
    let cells = size.users * size.films;
    let start = luck.random_range(0..cells);
    (0..cells)
        .map(|step| (start + step) % cells)
        .map(|cell| (cell / size.films, cell % size.films))
        .find(|pair| !taken.contains(pair))
        .unwrap_or((0, 0))
}

/// Places with weights, drawn by their share.
struct Weights {
    /// None: there are no places.
    ranks: Option<WeightedIndex<f64>>,
    /// The place at each rank.
    places: Vec<usize>,
}

impl Weights {
    /// Rank `r` (from 0) weighs `1 / (r + flatness) ^ slope`; ranks are dealt at random.
    fn zipf(count: usize, flatness: f64, slope: f64, luck: &mut Luck) -> Self {
        let mut places: Vec<usize> = (0..count).collect();
        places.shuffle(luck);
        #[expect(clippy::cast_precision_loss, reason = "ranks are far below 2^53")]
        let weights = (0..count).map(|rank| (rank as f64 + flatness).powf(-slope));
        Self {
            ranks: WeightedIndex::new(weights).ok(),
            places,
        }
    }

    fn draw(&self, luck: &mut Luck) -> usize {
        let rank = self.ranks.as_ref().map_or(0, |ranks| ranks.sample(luck));
        self.places.get(rank).copied().unwrap_or(0)
    }
}

/// About normal, mean 0 and deviation 1: twelve shares, as sums are the same everywhere and logarithms are not.
fn bell(luck: &mut Luck) -> f64 {
    (0..12).map(|_| luck.random::<f64>()).sum::<f64>() - 6.0
}

/// Of all that is sent, so that nobody has rated by another plan's name.
fn fingerprint(size: Size, ratings: &[Rating]) -> String {
    let mut hash = Sha256::new();
    hash.update(films::CSV);
    hash.update(format!("{size:?}"));
    for Rating { user, film, value } in ratings {
        hash.update(format!("{user} {film} {value}\n"));
    }
    let mut name = hex::encode(hash.finalize());
    name.truncate(8);
    name
}

/// Keeps the first film at 2 % of all ratings rather than 13 %, which 2,000 users could not give.
const FILM_FLATNESS: f64 = 8.0;
const FILM_SLOPE: f64 = 0.9;
const USER_FLATNESS: f64 = 30.0;
const USER_SLOPE: f64 = 0.8;
const QUALITY: f64 = 6.8;
const QUALITY_SPREAD: f64 = 0.9;
const MOOD_SPREAD: f64 = 0.5;
const TASTE_SPREAD: f64 = 1.4;
/// Draws by weight before a free pair is looked for.
const DRAWS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size {
        seed: 42,
        films: 1_000,
        users: 2_000,
        ratings: 50_000,
    };

    fn counts(plan: &Plan) -> Vec<usize> {
        let mut counts = vec![0; plan.size().films];
        for rating in &plan.ratings {
            counts[rating.film] += 1;
        }
        counts.sort_unstable_by(|a, b| b.cmp(a));
        counts
    }

    #[test]
    fn the_same_seed_gives_the_same_plan_and_another_seed_another() {
        let plan = Plan::draw(SIZE).unwrap();
        assert_eq!(plan.ratings, Plan::draw(SIZE).unwrap().ratings);
        let other = Plan::draw(Size { seed: 43, ..SIZE }).unwrap();
        assert_ne!(plan.ratings, other.ratings);
        assert_ne!(plan.user(0), other.user(0));
        let fewer = Plan::draw(Size {
            ratings: 49_999,
            ..SIZE
        })
        .unwrap();
        assert_ne!(plan.user(0), fewer.user(0));
    }

    #[test]
    fn no_user_rates_a_film_twice_even_when_all_pairs_are_used() {
        let size = Size {
            seed: 7,
            films: 20,
            users: 30,
            ratings: 600,
        };
        let plan = Plan::draw(size).unwrap();
        let pairs: HashSet<_> = plan.ratings.iter().map(|r| (r.user, r.film)).collect();
        assert_eq!(pairs.len(), 600);
        assert!(
            Plan::draw(Size {
                ratings: 601,
                ..size
            })
            .is_err()
        );
    }

    #[test]
    fn a_few_films_have_most_ratings_and_the_tail_is_long() {
        let counts = counts(&Plan::draw(SIZE).unwrap());
        let tenth: usize = counts[..100].iter().sum();
        assert!(
            (20_000..35_000).contains(&tenth),
            "the first tenth has {tenth}"
        );
        let half: usize = counts[500..].iter().sum();
        assert!(half < 10_000, "the last half has {half}");
        assert!(
            counts[0] > 10 * counts[500],
            "{} {}",
            counts[0],
            counts[500]
        );
    }

    #[test]
    fn values_are_plausible() {
        let plan = Plan::draw(SIZE).unwrap();
        let values: Vec<u64> = plan.ratings.iter().map(|r| u64::from(r.value)).collect();
        assert!(values.iter().all(|value| (1..=10).contains(value)));
        let sum: u64 = values.iter().sum();
        assert!((300_000..380_000).contains(&sum), "{sum}");
        assert!(values.iter().collect::<HashSet<_>>().len() >= 9);
    }
}
