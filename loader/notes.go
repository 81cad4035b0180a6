package loader

func (p *parser) checkNotes() bool { return true }
