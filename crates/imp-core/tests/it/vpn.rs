//! What must hold for every text of the service `vpn`, and for everything that is made of a seller's CONFIG.

mod any;
mod lines;
mod reach;
mod texts;
mod wg_quick;
