package doctor

import "slices"

// Catalogue returns every check of an engine and its machine, grouped in reading order.
func Catalogue() []Check {
	return slices.Concat(hostChecks, kernelChecks, usernsChecks, deviceChecks, networkChecks, storageChecks, cacheChecks, engineChecks, rootfsChecks, githubChecks)
}

// ImageCatalogue returns every check of an image that doctor --image names.
func ImageCatalogue() []Check { return imageChecks }
