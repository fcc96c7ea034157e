package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/pulumi/inflector"
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"
	shim "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfshim"
	"github.com/pulumi/pulumi/pkg/v3/codegen/schema"
)

// describer writes the Pulumi schema of the bridged provider, for `pulumi package get-schema` and for programs in
// languages that check against it. The bridge's own generator does it too, with documentation, but brings 398 more
// packages into the build.
type describer struct {
	types map[string]schema.ComplexTypeSpec // by token; filled as properties name them
}

func packageSchema(info *tfbridge.ProviderInfo) ([]byte, error) {
	d := &describer{types: map[string]schema.ComplexTypeSpec{}}
	spec := schema.PackageSpec{
		Name: info.Name, Version: info.Version, DisplayName: info.DisplayName,
		Description: info.Description, License: info.License,
		// The part of a token's module after the slash is not a module of its own.
		Meta:      &schema.MetadataSpec{ModuleFormat: "(.*)(?:/[^/]*)"},
		Resources: map[string]schema.ResourceSpec{},
		Functions: map[string]schema.FunctionSpec{},
	}
	config := d.object("Provider", info.P.Schema(), info.Config)
	spec.Config = schema.ConfigSpec{Variables: config.Properties}
	spec.Provider = &schema.ResourceSpec{ObjectTypeSpec: config, InputProperties: config.Properties}

	info.P.ResourcesMap().Range(func(name string, r shim.Resource) bool {
		if mapped := info.Resources[name]; mapped != nil {
			spec.Resources[string(mapped.Tok)] = d.resource(string(mapped.Tok), r, mapped.Fields)
		}
		return true
	})
	info.P.DataSourcesMap().Range(func(name string, r shim.Resource) bool {
		if mapped := info.DataSources[name]; mapped != nil {
			spec.Functions[string(mapped.Tok)] = d.function(string(mapped.Tok), r, mapped.Fields)
		}
		return true
	})
	spec.Types = d.types
	out, err := json.Marshal(spec)
	if err != nil {
		return nil, fmt.Errorf("encode the schema: %w", err)
	}
	return out, nil
}

// fields is what the mapping says about the Terraform fields of one block, by Terraform name.
type fields = map[string]*tfbridge.SchemaInfo

func (d *describer) resource(token string, r shim.Resource, mapped fields) schema.ResourceSpec {
	_, prefix := splitToken(token)
	state := d.object(prefix, r.Schema(), mapped)
	delete(state.Properties, "id") // every resource has one; naming it again is refused
	inputs, required := d.inputs(prefix, r.Schema(), mapped)
	optional := state
	optional.Required = nil
	return schema.ResourceSpec{
		ObjectTypeSpec: state, InputProperties: inputs, RequiredInputs: required, StateInputs: &optional,
	}
}

func (d *describer) function(token string, r shim.Resource, mapped fields) schema.FunctionSpec {
	_, prefix := splitToken(token)
	inputs, required := d.inputs(prefix, r.Schema(), mapped)
	result := d.object(prefix, r.Schema(), mapped)
	return schema.FunctionSpec{
		Inputs:  &schema.ObjectTypeSpec{Type: "object", Properties: inputs, Required: required},
		Outputs: &result,
	}
}

// inputs is the part of a block a program can set, and the names it must set.
func (d *describer) inputs(prefix string, block shim.SchemaMap, mapped fields) (map[string]schema.PropertySpec, []string) {
	properties := map[string]schema.PropertySpec{}
	var required []string
	block.Range(func(key string, s shim.Schema) bool {
		if !s.Optional() && !s.Required() {
			return true
		}
		name := tfbridge.TerraformToPulumiNameV2(key, block, mapped)
		properties[name] = d.property(prefix, name, s, mapped[key])
		// A default from the environment makes a field optional for the program even where Terraform requires it.
		if s.Required() && s.DefaultFunc() == nil {
			required = append(required, name)
		}
		return true
	})
	return properties, required
}

// object describes a whole block: what it takes and what it reports.
func (d *describer) object(prefix string, block shim.SchemaMap, mapped fields) schema.ObjectTypeSpec {
	spec := schema.ObjectTypeSpec{Type: "object", Properties: map[string]schema.PropertySpec{}}
	block.Range(func(key string, s shim.Schema) bool {
		name := tfbridge.TerraformToPulumiNameV2(key, block, mapped)
		spec.Properties[name] = d.property(prefix, name, s, mapped[key])
		if s.Required() && s.DefaultFunc() == nil {
			spec.Required = append(spec.Required, name)
		}
		return true
	})
	return spec
}

func (d *describer) property(prefix, name string, s shim.Schema, info *tfbridge.SchemaInfo) schema.PropertySpec {
	return schema.PropertySpec{
		TypeSpec:             d.valueType(prefix, name, s, info),
		Secret:               s.Sensitive(),
		WillReplaceOnChanges: s.ForceNew(),
	}
}

func (d *describer) valueType(prefix, name string, s shim.Schema, info *tfbridge.SchemaInfo) schema.TypeSpec {
	switch s.Type() {
	case shim.TypeBool:
		return schema.TypeSpec{Type: "boolean"}
	case shim.TypeInt:
		return schema.TypeSpec{Type: "integer"}
	case shim.TypeFloat:
		return schema.TypeSpec{Type: "number"}
	case shim.TypeMap:
		element := d.elementType(prefix, name, s.Elem(), nil)
		return schema.TypeSpec{Type: "object", AdditionalProperties: &element}
	case shim.TypeList, shim.TypeSet:
		var elementInfo *tfbridge.SchemaInfo
		if info != nil {
			elementInfo = info.Elem
		}
		if tfbridge.IsMaxItemsOne(s, info) {
			return d.elementType(prefix, name, s.Elem(), elementInfo)
		}
		element := d.elementType(prefix, inflector.Singularize(name), s.Elem(), elementInfo)
		return schema.TypeSpec{Type: "array", Items: &element}
	default:
		return schema.TypeSpec{Type: "string"}
	}
}

// elementType describes what a list, set or map holds: a scalar, or a block that becomes a named type
// (<resource><Property>, as the SDK has it).
func (d *describer) elementType(prefix, name string, element any, info *tfbridge.SchemaInfo) schema.TypeSpec {
	switch element := element.(type) {
	case shim.Schema:
		return d.valueType(prefix, name, element, info)
	case shim.Resource:
		typeName := prefix + strings.ToUpper(name[:1]) + name[1:]
		token := "docker:index/" + typeName + ":" + typeName
		var mapped fields
		if info != nil {
			mapped = info.Fields
		}
		d.types[token] = schema.ComplexTypeSpec{ObjectTypeSpec: d.object(typeName, element.Schema(), mapped)}
		return schema.TypeSpec{Ref: "#/types/" + token}
	default:
		return schema.TypeSpec{Type: "string"}
	}
}

// splitToken returns the module and the name of a token such as docker:index/container:Container.
func splitToken(token string) (module, name string) {
	parts := strings.Split(token, ":")
	return parts[1], parts[len(parts)-1]
}
