// Package chatwoot is the runtime's side of Chatwoot: what the router needs set up there, and the calls that do it.
//
// EnsureInbox makes the one thing the router mirrors into: an API inbox whose webhook reaches the router, and reads back
// what only Chatwoot can choose, its identifier and the secret its webhooks are signed with.
//
// Read at Chatwoot v4.15.1. What shapes the code:
//
//   - There is no token before the first user: sign in with e-mail and password, read the access token from the profile.
//   - Rack::Attack allows 5 sign-ins per address in 5 minutes and answers 429 without Retry-After, so one run signs in
//     once, and signs out again because a user keeps 25 sessions at most.
//   - While the installation's onboarding page is open, anybody who opens it becomes administrator: nothing is set up then.
//   - Names of inboxes are not unique, and a create whose answer was lost has still created: the look-up by name and
//     channel type always comes first, and two of a name are an error that a person has to resolve.
package chatwoot
