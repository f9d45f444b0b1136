//! Error and access log sinks: nginx's line form, files, stderr, syslog.
//! What is worth a line is left to the caller.
