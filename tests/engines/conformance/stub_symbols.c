/* The C symbols that NVIDIA's Python bindings of TensorRT 8 to 11 and TensorRT-RTX take from TensorRT's libraries,
   returning nothing. Compiled once per library, it lets the bindings be imported without TensorRT, to read what names
   they have. The last four are 8.x's parsers of UFF and Caffe, by their C++ names. */
void* createInferBuilder_INTERNAL(void) { return 0; }
void* createInferRefitter_INTERNAL(void) { return 0; }
void* createInferRuntime_INTERNAL(void) { return 0; }
void* createNvOnnxParser_INTERNAL(void) { return 0; }
void* createNvOnnxParserRefitter_INTERNAL(void) { return 0; }
void* getBuilderPluginRegistry(void) { return 0; }
void* getPluginRegistry(void) { return 0; }
int getNvOnnxParserVersion(void) { return 110400; }
int initLibNvInferPlugins(void) { return 0; }
void* _ZN11nvuffparser15createUffParserEv(void) { return 0; }
void _ZN11nvuffparser8FieldMapC1EPKcPKvNS_9FieldTypeEi(void) {}
void* _ZN14nvcaffeparser117createCaffeParserEv(void) { return 0; }
void _ZN14nvcaffeparser123shutdownProtobufLibraryEv(void) {}
