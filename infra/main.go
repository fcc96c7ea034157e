// Command infra is the Pulumi program: it deploys one stack of Plantão.
package main

import (
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"plantao/infra/stack"
)

func main() {
	pulumi.Run(stack.Deploy)
}
