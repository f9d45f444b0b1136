//! Listeners, socket passing, processes and privileges: the only unsafe of Weir.
//! What to listen on and when is left to the keeper.
