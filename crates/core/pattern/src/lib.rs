//! Regular expressions over bytes with the grammar nginx's users write.
//! Where a pattern may stand and what it means is left to weir-config and weir-http.
