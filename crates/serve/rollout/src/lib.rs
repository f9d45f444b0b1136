//! Carries out a release: talks to stores, proxies, shells, systemd and Docker, and shows how it goes.
//! What comes next is decided by weir-rollout.
