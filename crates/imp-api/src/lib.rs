//! Generated types, REST route table, error codes and the typed client of the IMP node. Links no node.
