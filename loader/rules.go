package loader

// Code is the stable name of a rule. A code is never given to another rule; docs/rules.md has a section for each.
type Code string

// The rules, by what they are about: 0xx the file, 1xx sections, 2xx symbols, 3xx relocations, 4xx hook records.
const (
	CodeNotELF        Code = "PIE001"
	CodeBitcode       Code = "PIE002"
	CodeSlimLTO       Code = "PIE003"
	CodeArchive       Code = "PIE004"
	CodeLinked        Code = "PIE005"
	CodeClass         Code = "PIE006"
	CodeByteOrder     Code = "PIE007"
	CodeMachine       Code = "PIE008"
	CodeOSABI         Code = "PIE009"
	CodeHeader        Code = "PIE010"
	CodeFlags         Code = "PIE011"
	CodeStripped      Code = "PIE012"
	CodeTooLarge      Code = "PIE013"
	CodeSectionType   Code = "PIE101"
	CodeRel           Code = "PIE102"
	CodeRelocSection  Code = "PIE103"
	CodeConstructor   Code = "PIE104"
	CodeTLSSection    Code = "PIE105"
	CodeWriteExec     Code = "PIE106"
	CodeExecStack     Code = "PIE107"
	CodeGroup         Code = "PIE108"
	CodeCompressed    Code = "PIE109"
	CodeExclude       Code = "PIE110"
	CodeSection       Code = "PIE111"
	CodeAlign         Code = "PIE112"
	CodeMemory        Code = "PIE113"
	CodeUnwind        Code = "PIE114"
	CodeInstrumented  Code = "PIE115"
	CodeBranchTarget  Code = "PIE116"
	CodeAddressed     Code = "PIE117"
	CodeOverlap       Code = "PIE118"
	CodeISA           Code = "PIE119"
	CodeNoCode        Code = "PIE120"
	CodeFrame         Code = "PIE121"
	CodeUndefined     Code = "PIE201"
	CodeWeakUndefined Code = "PIE202"
	CodeCommon        Code = "PIE203"
	CodeIFUNC         Code = "PIE204"
	CodeTLSSymbol     Code = "PIE205"
	CodeSymbol        Code = "PIE206"
	CodeSymbolOrder   Code = "PIE207"
	CodeDuplicate     Code = "PIE208"
	CodeInternal      Code = "PIE209"
	CodeStartStop     Code = "PIE210"
	CodeRecursion     Code = "PIE211"
	CodeRelocType     Code = "PIE301"
	CodeAbsolute      Code = "PIE302"
	CodeTLSReloc      Code = "PIE303"
	CodeDynamicReloc  Code = "PIE304"
	CodePAuth         Code = "PIE305"
	CodeDirtyPlace    Code = "PIE306"
	CodeUnaligned     Code = "PIE307"
	CodeInstruction   Code = "PIE308"
	CodeGOTAddend     Code = "PIE309"
	CodeDroppedTarget Code = "PIE310"
	CodeRange         Code = "PIE311"
	CodeRelocOverlap  Code = "PIE312"
	CodeReloc         Code = "PIE313"
	CodeNoHook        Code = "PIE401"
	CodeRecord        Code = "PIE402"
	CodeABI           Code = "PIE403"
	CodeHookID        Code = "PIE404"
	CodeHookFunction  Code = "PIE405"
	CodePluginName    Code = "PIE406"
	CodeParam         Code = "PIE407"
	CodeParamValue    Code = "PIE408"
	CodeHandler       Code = "PIE409"
	CodeSignal        Code = "PIE410"
	CodeImport        Code = "PIE411"
)

// RuleInfo has the fixed texts of a rule.
type RuleInfo struct {
	Code  Code
	Title string
	Fix   string // the usual remedy; a Violation may know a better one
	Note  bool   // informs only; the object is accepted
}

// Rules lists every rule in the order of the codes.
func Rules() []RuleInfo { return rules[:] }

// Rule finds a rule; the zero RuleInfo if there is none of that code.
func Rule(code Code) RuleInfo {
	for _, r := range rules {
		if r.Code == code {
			return r
		}
	}
	return RuleInfo{}
}

const (
	fixRebuild  = "the file is damaged: build it again"
	fixHandmade = "correct the assembly source or the tool that wrote the object"
)

var rules = [...]RuleInfo{
	{CodeNotELF, "not an ELF object", "compile with -c and give the .o", false},
	{CodeBitcode, "LLVM bitcode", "compile with -fno-lto", false},
	{CodeSlimLTO, "GCC LTO object without machine code", "compile with -fno-lto or -ffat-lto-objects", false},
	{CodeArchive, "archive", "ld -r -o plugin.o --whole-archive FILE", false},
	{CodeLinked, "linked file", "compile with -c; not -shared, and no linking step", false},
	{CodeClass, "32-bit object", "compile without -m32 and -mx32", false},
	{CodeByteOrder, "big-endian object", "compile for a little-endian target", false},
	{CodeMachine, "wrong machine", "compile for the machine of the process to be restored", false},
	{CodeOSABI, "object of another operating system", "compile for Linux", false},
	{CodeHeader, "damaged ELF header", fixRebuild, false},
	{CodeFlags, "processor flags", "", true},
	{CodeStripped, "no symbol table", "build without -s, and do not strip the object", false},
	{CodeTooLarge, "file too large", "build without -g3, or strip --strip-debug the object", false},

	{CodeSectionType, "section of a type that is not understood", fixHandmade, false},
	{CodeRel, "relocations without addends", "use an assembler for the System V ABI of this machine", false},
	{CodeRelocSection, "damaged relocation section", fixRebuild, false},
	{CodeConstructor, "constructor or destructor", "call it from a hook, or from init of CR_PLUGIN_REGISTER",
		false},
	{CodeTLSSection, "thread-local variable", "remove __thread, _Thread_local or thread_local", false},
	{CodeWriteExec, "memory both writable and executable", "put code and data into sections of their own", false},
	{CodeExecStack, "executable stack",
		"use no nested functions whose address is taken; in assembly add: .section .note.GNU-stack,\"\",@progbits", false},
	{CodeGroup, "damaged section group", fixRebuild, false},
	{CodeCompressed, "compressed section in memory", fixHandmade, false},
	{CodeExclude, "section both excluded and in memory", "remove the e flag of the .section directive", false},
	{CodeSection, "damaged section header", fixRebuild, false},
	{CodeAlign, "alignment beyond a page", "lower aligned(), alignas() or .balign to 4096 or less", false},
	{CodeMemory, "too much memory", "allocate the memory with mmap in a hook", false},
	{CodeUnwind, "unwind tables dropped",
		"to make the object smaller: -fno-asynchronous-unwind-tables -fno-exceptions", true},
	{CodeInstrumented, "instrumented code", "remove the instrumentation flag", false},
	{CodeBranchTarget, "hook is not a branch target",
		"compile all of the object with the same -fcf-protection or -mbranch-protection", false},
	{CodeAddressed, "section that already has an address", "", true},
	{CodeOverlap, "sections share bytes of the file", fixRebuild, false},
	{CodeISA, "needs a newer processor", "compile with a lower -march", true},
	{CodeNoCode, "code without bytes", "give the object itself, not what objcopy --only-keep-debug left of it",
		false},
	{CodeFrame, "frame larger than the stack of a hook",
		"make large variables static, or allocate them with mmap in the hook", true},

	{CodeUndefined, "undefined symbol",
		"define it in the plugin, or add the object that defines it: ld -r -o plugin.o a.o b.o", false},
	{CodeWeakUndefined, "weak undefined symbol", "define it, or remove the weak reference", false},
	{CodeCommon, "tentative definition", "compile with -fno-common, or give it a value (= 0), or ld -r -d", false},
	{CodeIFUNC, "indirect function", "remove target_clones and ifunc attributes", false},
	{CodeTLSSymbol, "thread-local symbol", "remove __thread, _Thread_local or thread_local", false},
	{CodeSymbol, "damaged symbol", fixRebuild, false},
	{CodeSymbolOrder, "symbol table out of order", fixRebuild, false},
	{CodeDuplicate, "symbol defined twice", "rename one of them, or make it static", false},
	{CodeInternal, "internal visibility", "use hidden visibility", false},
	{CodeStartStop, "bounds of a section", "define at least one variable in that section", false},
	{CodeRecursion, "function that calls itself instead of looping",
		"compile with -ffreestanding; gcc: -fno-tree-loop-distribute-patterns, clang: -fno-builtin", false},

	{CodeRelocType, "relocation of a type that is not understood",
		"build with a toolchain for this machine, without experimental flags", false},
	{CodeAbsolute, "not position independent", "compile with -fPIC or -fpie", false},
	{CodeTLSReloc, "thread-local access",
		"remove __thread, _Thread_local or thread_local; errno is thread-local: use the raw return value",
		false},
	{CodeDynamicReloc, "dynamic relocation", "give the .o, not a shared object", false},
	{CodePAuth, "signed pointer", "compile for the plain aarch64 ABI, not for pauthtest or arm64e", false},
	{CodeDirtyPlace, "place of a relocation is not zero", "give the object as the compiler or ld -r wrote it",
		false},
	{CodeUnaligned, "unaligned target", "align the symbol to the size of the access", false},
	{CodeInstruction, "relocation on another instruction", fixHandmade, false},
	{CodeGOTAddend, "unexpected addend of a GOT access", fixHandmade, false},
	{CodeDroppedTarget, "reference to a section that is not laid out",
		"keep what code needs in sections with the flag a", false},
	{CodeRange, "value out of range", "compile with -fPIC; make the plugin smaller", false},
	{CodeRelocOverlap, "relocations overlap", fixRebuild, false},
	{CodeReloc, "damaged relocation", fixRebuild, false},

	{CodeNoHook, "no hook", "register one: CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, fn)",
		false},
	{CodeRecord, "damaged record", "include <crpie/plugin.h> and use its macros", false},
	{CodeABI, "later version of the plugin ABI",
		"use a crpie as new as the headers that it was compiled with, or compile with this one's", false},
	{CodeHookID, "unknown hook", "use one of CR_PLUGIN_HOOK__PIE_RST_*", false},
	{CodeHookFunction, "record does not point at a function",
		"give the macro the name of a function of this object", false},
	{CodePluginName, "bad plugin name",
		"one CR_PLUGIN_REGISTER per object, with a name of 1 to 47 printable characters", false},
	{CodeParam, "damaged declaration of a parameter",
		"use the macros CRPIE_PARAM_* of <crpie/plugin.h>, each name once", false},
	{CodeParamValue, "parameter that the plugin does not take", "crpie inspect FILE.o lists the parameters", false},
	{CodeHandler, "signal handler that may stay behind",
		"install SIG_DFL, SIG_IGN or a function of the program (crpie_symbol)", true},
	{CodeSignal, "signal to the restored process",
		"return a negative errno to end it; a signal to another process is no mistake", true},
	{CodeImport, "damaged declaration of an import", "use CRPIE_IMPORT or CRPIE_IMPORT_AS of <crpie/plugin.h>", false},
}
