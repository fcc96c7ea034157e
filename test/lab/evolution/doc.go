// Command evolution is the lab's stand-in for Evolution API v2.3.7: the same environment, routes, refusals, database tables and
// webhooks, without WhatsApp. It exists so that one component definition and one router run in the lab and in production.
//
// # Entry points
//
//	evolution deploy-database   what Docker/scripts/deploy_database.sh does: applies the migrations; exit 1 when the provider is wrong
//	                            or the database does not answer; safe on every start
//	evolution serve             what `npm run start:prod` does: the API on SERVER_PORT
//
// # What is imitated
//
// Image, environment, start, routes, webhooks and the EVOLUTION channel, after upstream's documentation and public source of the
// 2.3 line; the surprising parts are:
//
//   - A route looks for the instance first and for the key second: an unknown instance is 404 even without a key.
//   - A body that fails validation is answered with a list inside a list ("message":[["…"]]), other refusals with a flat list.
//   - The EVOLUTION channel has no number look-up: key.remoteJid of an answer is the number exactly as it was sent, without
//     "@s.whatsapp.net"; key.id is a UUID; no status follows. Presence, read marks and number checks are refused with 400.
//   - CORS_ORIGIN without "*" makes upstream answer 500 to every request that has no Origin header. So does this program.
//   - A request whose client has gone away is carried out all the same.
//   - Webhook retries live in memory; the JWT made from the special header jwt_key is made once, so late retries carry an expired one.
//
// A WHATSAPP-BAILEYS instance reaches state connecting and stays there with its QR code. Only the control port can pair it; then
// sendText follows upstream's WhatsApp path: number to jid (Brazil's ninth digit, Mexico's and Argentina's extra digit), the check
// that the number exists, status PENDING, then messages.update with SERVER_ACK and DELIVERY_ACK. Attachments go out the same way,
// messages and attachments come in by the control port (in the order of upstream's WhatsApp path: stored, then told), and
// getBase64FromMediaMessage gives what WhatsApp keeps of either. A phone that is not connected gets its messages when it is, with the time
// they were written.
//
// # What is stricter or different, on purpose
//
//   - A variable that upstream silently takes from the image's .env.example although that value is dangerous is refused at start,
//     with its name and the value it would have had (package environment). So are the published keys and every switch that
//     turns on a part this program does not have.
//   - serve refuses to start on a database that deploy-database has not prepared; upstream starts and answers 500.
//   - Empty text is refused on every channel (upstream: only on WhatsApp), since it would be refused in production.
//   - The inlet POST /webhook/evolution also takes key.remoteJidAlt, key.participant and key.addressingMode, which upstream drops on
//     this channel, and then treats the key as WhatsApp's: a remoteJid ending in @lid is replaced by remoteJidAlt in the webhook
//     while the database keeps the @lid. The texts requestPlaceholder and onDemandHistSync act as upstream's leftover debug
//     triggers do on WhatsApp: the message comes a second time, or a messages.set burst follows. Both make LID
//     addressing, duplicates and bursts testable without WhatsApp.
//   - A route of upstream that is not imitated answers 501 and says so; it never pretends.
//
// # What is not imitated
//
// WhatsApp itself, QR codes that change every minute, media conversion and S3, groups, labels, calls, templates, proxies, the
// built-in Chatwoot bridge and bots, the manager pages, /metrics, the global webhook, RabbitMQ, SQS, NATS, Kafka, Pusher and
// WebSocket events, urlencoded bodies, MESSAGES_EDITED stalling the queue, and the deletion of rows waiting for a dead webhook.
//
// # Control port
//
// With LAB_CONTROL_ADDR set, a second listener serves /lab/… for tests (package control): what was sent, faults for the next sends,
// lost and repeated webhooks, pairing. Nothing under /lab exists on the API port, and without the variable there is no listener.
package main
