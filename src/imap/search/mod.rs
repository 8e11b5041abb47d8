//! SEARCH and its kin: keys as a tree (`key`, `parse`), tests on what is known of a message
//! (`evaluate`), what FUZZY makes of keys (`fuzzy`) and how relevant a hit is (`relevancy`), what
//! is to be returned (`returns`) and how (`answer`), the orders of SORT (`sort`) and THREAD
//! (`threads`), results that are kept up to date (`contexts`). RFC 3501 §6.4.4

pub mod answer;
mod breath;
pub mod contexts;
pub mod evaluate;
pub mod fuzzy;
pub mod key;
mod narrow;
pub mod parse;
pub mod relevancy;
pub mod returns;
pub mod sort;
pub mod threads;
