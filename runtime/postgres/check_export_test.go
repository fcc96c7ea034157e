package postgres

// CheckIn lets a test check what a transaction has changed, and roll it back.
var CheckIn = checkIn
