//! Amounts of money.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, Sub};

use serde::{Deserialize, Serialize};

/// An amount in millisatoshis, the unit of Lightning payments (BOLT 2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Msat(pub u64);

impl Msat {
    /// No money.
    pub const ZERO: Self = Self(0);

    /// The amount of `sat` satoshis, or the largest representable one.
    pub const fn from_sat(sat: u64) -> Self {
        Self(sat.saturating_mul(1000))
    }

    /// Whole satoshis, rounded down.
    pub const fn to_sat_floor(self) -> u64 {
        self.0 / 1000
    }

    /// Whole satoshis, rounded up: what must be at hand to pay this amount.
    pub const fn to_sat_ceil(self) -> u64 {
        self.0.div_ceil(1000)
    }

    /// The sum, or the largest representable amount.
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference, or nothing where `other` is larger.
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Add for Msat {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl Sub for Msat {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl Sum for Msat {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Self::saturating_add)
    }
}

impl fmt::Display for Msat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} msat", self.0)
    }
}
