//! The daemon impd: services, inbox, outbox, events, store and API edges.
