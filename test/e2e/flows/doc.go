// Package flows runs every workflow of templates/n8n in the real n8n, with its task runner and PostgreSQL as the stack
// has them, beside a stand-in of the router's API and of an OpenAI-compatible model. Its test needs a Docker Engine (`make e2e`).
package flows
