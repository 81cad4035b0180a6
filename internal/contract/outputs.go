package contract

// Outputs are the generated files, by their path in the repository.
func Outputs() (map[string]string, error) {
	text, err := Go(Public(), Resident(), Restorer(), Graft())
	return map[string]string{
		"restorer/core/src/contract.h":    Restorer().Header("CRPIE_CONTRACT_H", "<crpie/abi.h>"),
		"graft/core/src/graft_contract.h": Graft().Header("CRPIE_GRAFT_CONTRACT_H", "<crpie/abi.h>"),
		"internal/abi/contract.go":        string(text),
		"docs/operations.md":              Page(),
	}, err
}
