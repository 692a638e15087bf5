// SIM_FORMS=FILE: appends the instruction forms of every kernel that is prepared, one a line, for the conformance table.
#include <cstdio>
#include <cstdlib>
#include <set>

#include "sim/ptx/lowering.h"

namespace sim {

void record_forms(const Program& p) {
  const char* path = getenv("SIM_FORMS");
  if (!path) return;
  std::set<std::string> forms;
  for (const Instr& i : p.code) {
    if (!i.source) continue;
    std::string form = i.source->opcode;
    for (const std::string& m : i.source->mods) form += "." + m;
    forms.insert(form);
  }
  if (FILE* f = fopen(path, "a")) {
    for (const std::string& form : forms) fprintf(f, "%s\n", form.c_str());
    fclose(f);
  }
}

}  // namespace sim
