// Package rules reads the file in which an operator declares who gets a conversation, checks it as a whole, and decides by it.
//
// A file names calendars (business hours, holidays) and rules. A rule is a condition in CEL, the Common Expression Language
// (https://cel.dev), and the targets to try when it holds. The rules are asked in the order they stand in; the first whose
// condition holds decides. If none holds, the conversation goes to its channel's flow.
//
// What Read accepts can be decided by for ever: every name a condition uses is known and has the right type, every condition's cost is
// bounded (cel-go's static estimate, over facts whose sizes are bounded: see MaxTextBytes and MaxItems), every calendar and target exists.
// So a Set never fails as a whole. A condition can still fail on certain facts, as an index out of range does: it counts as not
// holding, and the decision says so.
//
// A Set is immutable, and its version is the hash of the file's bytes. Deciding is pure: equal facts give equal decisions. That is why a
// decision can be explained later, and why a draft can be played over what has happened.
//
// This package is the format in which the deployment and the service meet, so both import it: it imports libraries only.
package rules
