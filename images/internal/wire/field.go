package wire

import "fmt"

// FieldError is what is wrong with a field of a message, with the field's path, outermost first.
type FieldError struct {
	Path  string
	Cause string
}

func (e *FieldError) Error() string { return "field " + e.Path + ": " + e.Cause }

// Inside prefixes the path of the field with the name of the field that contains it.
func (e *FieldError) Inside(name string) *FieldError {
	if e.Path == "" {
		return &FieldError{name, e.Cause}
	}
	return &FieldError{name + "." + e.Path, e.Cause}
}

// Indexed names an element of a list.
func Indexed(name string, i int) string { return fmt.Sprintf("%s[%d]", name, i) }
