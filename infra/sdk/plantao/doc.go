// Resources of the Plantão stack that the Docker provider does not have.
package plantao
