//! What one node does, event by event: the lines of a trace are the commands in their order.

mod machine {
    mod announce;
    mod arbitrary;
    mod election;
    mod groups;
    mod network;
    mod reload;
    mod rig;
    mod safety;
    mod tracking;
}
