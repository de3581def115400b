package doctor

import "slices"

// Catalogue is every check of an engine and its machine, grouped in the order of
// reading.
func Catalogue() []Check {
	return slices.Concat(hostChecks, kernelChecks, usernsChecks, deviceChecks, networkChecks, storageChecks, engineChecks, worldChecks, githubChecks)
}

// ImageCatalogue is every check of an image that doctor --image names.
func ImageCatalogue() []Check { return imageChecks }
