// Package roots holds the root certificates that go into images which are not made from a distribution:
// Mozilla's list as the Go team publishes it, not this machine's list, which may hold an inspecting
// proxy's certificate that no production container should trust.
package roots

import (
	"bytes"
	"encoding/pem"
	"sync"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// PEM is the bundle, the same bytes for every call and machine. Roots that Mozilla trusts only for
// certificates issued before some date are left out: a PEM file cannot say that.
var PEM = sync.OnceValue(func() []byte {
	var out bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint != nil {
			continue
		}
		// Writing to a bytes.Buffer cannot fail.
		_ = pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate})
	}
	return out.Bytes()
})
