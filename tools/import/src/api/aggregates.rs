//! What ratings of films come to, as it is served.
//!
//! Promises: the figures of each film that is asked about, or an error; "not known just now" is asked again, as any
//! failure that passes. Many films are read from lists, a hundred with one request. Bound: twice as many requests as films,
//! however many others the server has.

use std::collections::{HashMap, HashSet};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use reqwest::Url;
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    Client, Error, page_of, succeeded,
    transport::{Call, Passing, Tries},
};

/// What a film's ratings come to.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct Aggregate {
    /// The mean; none while there is no rating.
    pub average: Option<f64>,
    /// How many.
    pub count: u64,
}

#[derive(Deserialize)]
struct Details {
    /// None: not known just now.
    rating: Option<Aggregate>,
}

#[derive(Deserialize)]
struct Listed {
    id: String,
    rating: Option<Aggregate>,
}

#[derive(Deserialize)]
struct Page {
    movies: Vec<Listed>,
    next: Option<String>,
}

/// Films with their figures, and where the next page begins.
struct KnownPage {
    films: Vec<(String, Aggregate)>,
    next: Option<String>,
}

impl Client {
    /// A film's aggregate.
    ///
    /// # Errors
    /// `Refused`, `Answer` or `GaveUp`.
    pub async fn aggregate(&self, movie: &str) -> Result<Aggregate, Error> {
        let url = self.transport.url(&["v1", "movies", movie, "details"]);
        self.known(url, |details: Details| details.rating).await
    }

    /// The aggregates of films, in their order, with up to `width` requests in flight.
    ///
    /// Lists are read from the newest film on, since no film moves in that order, until all that are wanted were there.
    /// Where that takes more pages than films are missing, those are asked about one by one.
    ///
    /// # Errors
    /// As [`aggregate`](Self::aggregate).
    pub async fn aggregates(&self, movies: &[&str], width: usize) -> Result<Vec<Aggregate>, Error> {
        let wanted: HashSet<&str> = movies.iter().copied().collect();
        let mut found: HashMap<String, Aggregate> = HashMap::new();
        let mut newest = self.transport.url(&["v1", "movies"]);
        newest.query_pairs_mut().append_pair("sort", "-created");
        let mut after = None::<String>;
        let mut pages = 0;
        while pages < wanted.len() - found.len() {
            let url = page_of(&newest, after.as_deref());
            let page = self.known(url, Page::known).await?;
            let films = page.films.into_iter();
            found.extend(films.filter(|(id, _)| wanted.contains(id.as_str())));
            pages += 1;
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        let found = &found;
        stream::iter(movies)
            .map(async |movie| match found.get(*movie) {
                Some(aggregate) => Ok(*aggregate),
                None => self.aggregate(movie).await,
            })
            .buffered(width.max(1))
            .try_collect()
            .await
    }

    /// What is read of an answer, asked for again while it lacks something.
    async fn known<T: DeserializeOwned, K>(
        &self,
        url: Url,
        read: impl Fn(T) -> Option<K>,
    ) -> Result<K, Error> {
        let call = Call::get(url);
        let mut tries = Tries::begin();
        loop {
            let passing = match self.transport.attempt(&call, &mut tries).await? {
                Err(passing) => passing,
                Ok(answer) => {
                    self.transport.pulse.beat();
                    if let Some(known) = read(succeeded(answer)?.parse(&call)?) {
                        return Ok(known);
                    }
                    Passing {
                        reason: "the ratings are not known just now".to_owned(),
                        retry_after: None,
                    }
                }
            };
            self.transport.wait(&call, &mut tries, passing).await?;
        }
    }
}

impl Page {
    /// None while a figure is missing.
    fn known(self) -> Option<KnownPage> {
        let films = self.movies.into_iter();
        let films = films.map(|film| Some((film.id, film.rating?)));
        Some(KnownPage {
            films: films.collect::<Option<_>>()?,
            next: self.next,
        })
    }
}
