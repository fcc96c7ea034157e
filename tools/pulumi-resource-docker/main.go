// Command pulumi-resource-docker is the Docker provider plugin, version 4.10.0, for machines that only reach package
// registries. The official plugin of that version is not published as a Go module; what it is made of is: the
// Terraform Docker provider behind Pulumi's bridge. tools/setup builds this one only where the official plugin is
// neither installed nor downloadable, and never over an official one.
//
// # What it serves
//
// The tokens and property names of the Go SDK github.com/pulumi/pulumi-docker/sdk/v4 v4.10.0. The Terraform provider
// here (kreuzwerker/terraform-provider-docker at 96d331c98ff4) is newer than the one in the official 4.10.0, so its
// schema has more. TestSchemaServesTheSDK in tools/setup compares `pulumi package get-schema` with the SDK's structs,
// every resource, nested type, property and shape, and holds the list of differences (22 November 2026):
//
//   - Container, Volume, RemoteImage, Network, Service and the rest: everything of the SDK is served, with the same
//     shape, except Network.checkDuplicate, which is gone upstream because Docker checks by itself since API 1.44.
//   - docker:index/image:Image, the native resource that builds and pushes, is missing, with its types DockerBuild,
//     CacheFrom and Registry: build with RemoteImage and its build block.
//   - The schema carries no descriptions.
//
// # How it is built
//
// The Terraform provider's package is internal to its module, whose go.mod carries another path than it is published
// under. So tools/setup copies the downloaded, checksum-verified module to ./upstream of a copy of this folder, adds
// the one-function package upstream/shim, and builds there; see upstream.json. Nothing of it is committed.
package main

import (
	"fmt"
	"os"

	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"
)

// version is the one the Go SDK asks for; a plugin of another version is not found.
const version = "4.10.0"

func main() {
	info := provider()
	schema, err := packageSchema(&info)
	if err != nil {
		fmt.Fprintln(os.Stderr, "pulumi-resource-docker: describe the provider:", err)
		os.Exit(1)
	}
	tfbridge.Main(info.Name, version, info, schema)
}
