/* The hot path, compiled: beginning and ending an entry, and `network_op`'s own block.

   Optional. It does what `_wrappers`, `_network` and `_groups` do in Python, to the same entries: lists whose places
   `_raw` names. Whatever is rare (nothing recorded, blocks inside of their own, odd numbers of bytes) is left
   to the Python methods that it stands in for, which `bind` hands over. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

/* Places of an entry; see `_raw`. */
enum { SITE, SCOPE, PARENT, START, THREAD, END, EXTRA, LATE, ID, SENT, RECEIVED, FIRST, OP_SIZE };
enum { EVENT_SIZE = ID + 1, NESTED = 13 };
/* Places of `Scope.hot`. */
enum { NOW, APPEND, PENDING };

typedef struct {
    /* Handed over by `bind`, in this order. */
    PyObject *current;   /* the ContextVar of the current entry */
    PyObject *on_switch; /* whether telemetry is on */
    PyObject *fail;
    PyObject *overrun;
    /* Handed over by `bind_op`. */
    PyObject *known_ops;
    PyObject *plain_op;
    PyObject *fail_op;
    PyObject *overrun_op;
    PyObject *slow_enter; /* the Python methods of `network_op` */
    PyObject *slow_exit;
    PyObject *slow_sent;
    PyObject *slow_received;
    /* Names, and a number. */
    PyObject *hot, *on, *limit, *late, *fold, *zero;
} State;

enum { FOR_EVENTS = 4, FOR_OPS = 8, BOUND = FOR_EVENTS + FOR_OPS, ALL = BOUND + 6 };
#define OBJECTS(state) ((PyObject **)(state))

/* --- entries ---------------------------------------------------------------------------------------- */

static inline PyObject *
at(PyObject *entry, Py_ssize_t place)
{
    return PyList_GET_ITEM(entry, place); /* borrowed */
}

/* Put something in a place of an entry; takes the reference over. */
static inline void
put(PyObject *entry, Py_ssize_t place, PyObject *value)
{
    PyObject *old = PyList_GET_ITEM(entry, place);
    PyList_SET_ITEM(entry, place, value);
    Py_DECREF(old);
}

static int
is_entry(PyObject *entry, Py_ssize_t size)
{
    if (PyList_CheckExact(entry) && PyList_GET_SIZE(entry) >= size) {
        return 1;
    }
    PyErr_SetString(PyExc_TypeError, "an entry is a list of the places that _raw names");
    return 0;
}

static int
is_bound(State *state)
{
    if (state->current != NULL) {
        return 1;
    }
    PyErr_SetString(PyExc_RuntimeError, "bind() has not been called");
    return 0;
}

/* What is current: a new reference to an entry whose scope can be read. */
static PyObject *
current_entry(State *state)
{
    PyObject *entry = NULL;
    if (!is_bound(state) || PyContextVar_Get(state->current, NULL, &entry) < 0) {
        return NULL;
    }
    if (!is_entry(entry, EVENT_SIZE)) {
        Py_DECREF(entry);
        return NULL;
    }
    return entry;
}

static int
set_current(State *state, PyObject *entry)
{
    PyObject *token = PyContextVar_Set(state->current, entry);
    if (token == NULL) {
        return -1;
    }
    Py_DECREF(token);
    return 0;
}

/* `Scope.hot`: a new reference to a tuple of now, append and pending. */
static PyObject *
hot_of(State *state, PyObject *scope)
{
    PyObject *hot = PyObject_GetAttr(scope, state->hot);
    if (hot != NULL && !(PyTuple_CheckExact(hot) && PyTuple_GET_SIZE(hot) > PENDING
                         && PyList_Check(PyTuple_GET_ITEM(hot, PENDING)))) {
        PyErr_SetString(PyExc_TypeError, "Scope.hot is a tuple of now, append and pending");
        Py_CLEAR(hot);
    }
    return hot;
}

/* Announce an entry that has ended, or fold if it is time to. */
static int
announce(State *state, PyObject *scope, PyObject *hot, PyObject *entry)
{
    PyObject *result;
    if (at(entry, LATE) == Py_True) {
        result = PyObject_CallMethodObjArgs(scope, state->late, entry, NULL);
    }
    else {
        PyObject *pending = PyTuple_GET_ITEM(hot, PENDING);
        PyObject *limit = PyObject_GetAttr(pending, state->limit);
        Py_ssize_t most;
        if (limit == NULL) {
            return -1;
        }
        most = PyLong_AsSsize_t(limit);
        Py_DECREF(limit);
        if (most == -1 && PyErr_Occurred()) {
            return -1;
        }
        if (PyList_GET_SIZE(pending) <= most) {
            return 0;
        }
        result = PyObject_CallMethodNoArgs(scope, state->fold);
    }
    if (result == NULL) {
        return -1;
    }
    Py_DECREF(result);
    return 0;
}

/* Whether telemetry is on: 1, 0, or -1 for an error. */
static int
is_on(State *state)
{
    PyObject *on = is_bound(state) ? PyObject_GetAttr(state->on_switch, state->on) : NULL;
    int found;
    if (on == NULL) {
        return -1;
    }
    found = on == Py_True;
    Py_DECREF(on);
    return found;
}

/* Have an entry say what it failed with; `parent` only for events. */
static int
describe(PyObject *fail, PyObject *overrun, PyObject *entry, PyObject *parent, PyObject *error)
{
    PyObject *result = parent == NULL ? PyObject_CallFunctionObjArgs(fail, entry, error, NULL)
                                      : PyObject_CallFunctionObjArgs(fail, entry, parent, error, NULL);
    if (result == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_RecursionError)) {
            return -1;
        }
        PyErr_Clear(); /* no stack is left for that */
        put(entry, EXTRA, Py_NewRef(overrun));
        return 0;
    }
    Py_DECREF(result);
    return 0;
}

/* --- events ----------------------------------------------------------------------------------------- */

PyDoc_STRVAR(begin_doc, "begin(event, /)\n--\n\n"
"Begin an event, an entry with nothing but its site, and make it current.\n\n"
"Where nothing is recorded it stays without a scope, and its end does nothing.");

static PyObject *
begin(PyObject *module, PyObject *event)
{
    State *state = PyModule_GetState(module);
    PyObject *parent, *scope, *hot, *value, *result;
    if (!is_entry(event, EVENT_SIZE) || (parent = current_entry(state)) == NULL) {
        return NULL;
    }
    scope = at(parent, SCOPE);
    if (scope == Py_None) {
        Py_DECREF(parent);
        Py_RETURN_NONE;
    }
    Py_INCREF(scope);
    hot = hot_of(state, scope);
    if (hot == NULL) {
        goto failed;
    }
    value = PyObject_CallNoArgs(PyTuple_GET_ITEM(hot, NOW));
    if (value == NULL) {
        goto failed;
    }
    put(event, START, value);
    value = PyLong_FromUnsignedLong(PyThread_get_thread_ident());
    if (value == NULL) {
        goto failed;
    }
    put(event, THREAD, value);
    put(event, PARENT, parent);
    put(event, SCOPE, scope);
    /* From here on the entry holds both; what fails now ends it as the call would. */
    result = NULL;
    if (set_current(state, event) == 0) {
        result = PyObject_CallOneArg(PyTuple_GET_ITEM(hot, APPEND), event);
    }
    Py_DECREF(hot);
    return result;
failed:
    Py_XDECREF(hot);
    Py_DECREF(scope);
    Py_DECREF(parent);
    return NULL;
}

/* Make the parent of an event current again; with `only_if_current`, where the event is so. */
static int
restore(State *state, PyObject *event, PyObject *parent, int only_if_current)
{
    if (only_if_current) {
        PyObject *found = current_entry(state);
        if (found == NULL) {
            return -1;
        }
        Py_DECREF(found); /* compared, and not looked into */
        if (found != event) {
            return 0;
        }
    }
    return set_current(state, parent);
}

static PyObject *
finish(State *state, PyObject *event, PyObject *error, int only_if_current)
{
    PyObject *scope = at(event, SCOPE), *parent, *hot, *stamp, *result = NULL;
    if (scope == Py_None) {
        Py_RETURN_NONE;
    }
    if (!is_bound(state)) {
        return NULL;
    }
    /* A fold replaces the parent by its identifier as soon as the end is known. */
    parent = at(event, PARENT);
    Py_INCREF(scope);
    Py_INCREF(parent);
    hot = hot_of(state, scope);
    stamp = hot == NULL ? NULL : PyObject_CallNoArgs(PyTuple_GET_ITEM(hot, NOW));
    if (stamp == NULL || restore(state, event, parent, only_if_current) < 0) {
        goto done;
    }
    if (error != NULL && describe(state->fail, state->overrun, event, parent, error) < 0) {
        goto done;
    }
    put(event, END, stamp);
    stamp = NULL;
    if (announce(state, scope, hot, event) == 0) {
        result = Py_None;
        Py_INCREF(result);
    }
done:
    Py_XDECREF(stamp);
    Py_XDECREF(hot);
    Py_DECREF(parent);
    Py_DECREF(scope);
    return result;
}

PyDoc_STRVAR(end_doc, "end(event, only_if_current, /)\n--\n\n"
"End an event that has completed, and make current what was so before.\n\n"
"With `only_if_current`, only where the event is current: a coroutine may end in another context.");

static PyObject *
end(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "end() takes an event and whether it has to be current");
        return NULL;
    }
    if (!is_entry(args[0], EVENT_SIZE)) {
        return NULL;
    }
    return finish(PyModule_GetState(module), args[0], NULL, args[1] == Py_True);
}

PyDoc_STRVAR(end_failed_doc, "end_failed(event, error, only_if_current, /)\n--\n\n"
"End an event with what it raised; as `end` otherwise.");

static PyObject *
end_failed(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (count != 3) {
        PyErr_SetString(PyExc_TypeError,
                        "end_failed() takes an event, its error and whether it has to be current");
        return NULL;
    }
    if (!is_entry(args[0], EVENT_SIZE)) {
        return NULL;
    }
    return finish(PyModule_GetState(module), args[0], args[1], args[2] == Py_True);
}

/* --- network operations ----------------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    PyObject *key;
    PyObject *given;
    PyObject *raw;
} Op;

#define RAW_OF(self) ((self)->raw == NULL || (self)->raw == Py_None ? NULL : (self)->raw)

static int
op_init(Op *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"host", "port", "operation", "attributes", NULL};
    PyObject *host, *port, *operation = NULL, *attributes = Py_None, *key;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO|OO:network_op", names, &host, &port,
                                     &operation, &attributes)) {
        return -1;
    }
    if (operation != NULL) {
        key = PyTuple_Pack(3, host, port, operation);
    }
    else {
        operation = PyUnicode_InternFromString("exchange");
        key = operation == NULL ? NULL : PyTuple_Pack(3, host, port, operation);
        Py_XDECREF(operation);
    }
    if (key == NULL) {
        return -1;
    }
    Py_XSETREF(self->key, key);
    Py_INCREF(attributes);
    Py_XSETREF(self->given, attributes);
    Py_CLEAR(self->raw);
    return 0;
}

static int
op_traverse(Op *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->key);
    Py_VISIT(self->given);
    Py_VISIT(self->raw);
    return 0;
}

static int
op_clear(Op *self)
{
    Py_CLEAR(self->key);
    Py_CLEAR(self->given);
    Py_CLEAR(self->raw);
    return 0;
}

static void
op_dealloc(Op *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    op_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

/* Call the Python method that one of ours stands in for, with the arguments as they came. */
static PyObject *
slowly(PyObject *method, PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    PyObject *all[8];
    Py_ssize_t size = count + (names == NULL ? 0 : PyTuple_GET_SIZE(names));
    if (method == NULL || size >= 8) {
        PyErr_SetString(PyExc_TypeError, "too many arguments");
        return NULL;
    }
    all[0] = self;
    for (Py_ssize_t i = 0; i < size; i++) {
        all[i + 1] = args[i];
    }
    return PyObject_Vectorcall(method, all, (size_t)count + 1, names);
}

/* The site of an operation, where it is known; a new reference, or NULL without an error. */
static PyObject *
known_site(State *state, Op *self)
{
    PyObject *site = NULL;
    if (self->key != NULL && state->known_ops != NULL) {
        site = PyDict_GetItemWithError(state->known_ops, self->key);
        Py_XINCREF(site);
        PyErr_Clear(); /* not hashable, or hostile: the slow way looks at that */
    }
    return site;
}

static PyObject *
op_enter(Op *self, PyTypeObject *class, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    State *state = PyType_GetModuleState(class);
    PyObject *parent, *scope, *site = NULL, *hot, *raw, *stamp, *result;
    PyObject *outer = RAW_OF(self);
    int on = is_on(state);
    if (on < 0 || (parent = current_entry(state)) == NULL) {
        return NULL;
    }
    scope = at(parent, SCOPE);
    if (on && scope != Py_None && self->given == Py_None && count == 0 && names == NULL
        && (outer == NULL || at(outer, END) != Py_None)) {
        site = known_site(state, self);
    }
    if (site == NULL) {
        Py_DECREF(parent);
        return slowly(state->slow_enter, (PyObject *)self, args, count, names);
    }
    Py_INCREF(scope);
    hot = hot_of(state, scope);
    stamp = hot == NULL ? NULL : PyObject_CallNoArgs(PyTuple_GET_ITEM(hot, NOW));
    raw = stamp == NULL ? NULL : PyList_New(OP_SIZE);
    if (raw == NULL) {
        Py_XDECREF(stamp);
        Py_XDECREF(hot);
        Py_DECREF(scope);
        Py_DECREF(site);
        Py_DECREF(parent);
        return NULL;
    }
    PyList_SET_ITEM(raw, SITE, site);
    PyList_SET_ITEM(raw, SCOPE, scope);
    PyList_SET_ITEM(raw, PARENT, parent);
    PyList_SET_ITEM(raw, START, stamp);
    PyList_SET_ITEM(raw, THREAD, Py_NewRef(state->zero));
    PyList_SET_ITEM(raw, END, Py_NewRef(Py_None));
    PyList_SET_ITEM(raw, EXTRA, Py_NewRef(state->plain_op));
    PyList_SET_ITEM(raw, LATE, Py_NewRef(Py_False));
    PyList_SET_ITEM(raw, ID, Py_NewRef(Py_None));
    PyList_SET_ITEM(raw, SENT, Py_NewRef(state->zero));
    PyList_SET_ITEM(raw, RECEIVED, Py_NewRef(state->zero));
    PyList_SET_ITEM(raw, FIRST, Py_NewRef(Py_None));
    Py_XSETREF(self->raw, Py_NewRef(raw));
    result = PyObject_CallOneArg(PyTuple_GET_ITEM(hot, APPEND), raw);
    Py_DECREF(raw);
    Py_DECREF(hot);
    if (result == NULL) {
        return NULL;
    }
    Py_DECREF(result);
    return Py_NewRef((PyObject *)self);
}

static PyObject *
op_exit(Op *self, PyTypeObject *class, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    State *state = PyType_GetModuleState(class);
    PyObject *raw = RAW_OF(self), *scope, *hot, *stamp, *result = NULL;
    Py_ssize_t size;
    int is_late;
    if (raw == NULL) {
        Py_RETURN_NONE;
    }
    if (count != 3 || names != NULL || at(raw, END) != Py_None || state->fail_op == NULL) {
        return slowly(state->slow_exit, (PyObject *)self, args, count, names);
    }
    Py_INCREF(raw);
    scope = Py_NewRef(at(raw, SCOPE));
    hot = hot_of(state, scope);
    stamp = hot == NULL ? NULL : PyObject_CallNoArgs(PyTuple_GET_ITEM(hot, NOW));
    if (stamp == NULL) {
        goto done;
    }
    if (args[1] != Py_None
        && describe(state->fail_op, state->overrun_op, raw, NULL, args[1]) < 0) {
        goto done;
    }
    put(raw, END, Py_NewRef(stamp));
    is_late = at(raw, LATE) == Py_True;
    if (announce(state, scope, hot, raw) < 0) {
        goto done;
    }
    size = PyList_GET_SIZE(raw);
    if (is_late && size > NESTED) {
        /* The operation that it began inside of, on the same instance, goes on. */
        PyObject *outer = Py_NewRef(at(raw, size - 1));
        if (PyList_SetSlice(raw, size - 1, size, NULL) < 0) {
            Py_DECREF(outer);
            goto done;
        }
        Py_XSETREF(self->raw, outer);
    }
    result = Py_NewRef(Py_None);
done:
    Py_XDECREF(stamp);
    Py_XDECREF(hot);
    Py_DECREF(scope);
    Py_DECREF(raw);
    return result;
}

/* Whether an argument is a plain number of bytes, for an operation that has not ended. */
static int
is_plain_count(PyObject *raw, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    int overflow = 0;
    return count == 1 && names == NULL && PyLong_CheckExact(args[0]) && at(raw, END) == Py_None
           && PyLong_AsLongLongAndOverflow(args[0], &overflow) >= 0 && overflow == 0;
}

static int
add(PyObject *raw, Py_ssize_t place, PyObject *count)
{
    PyObject *sum = PyNumber_Add(at(raw, place), count);
    if (sum == NULL) {
        return -1;
    }
    put(raw, place, sum);
    return 0;
}

PyDoc_STRVAR(sent_doc, "sent($self, /, count)\n--\n\n"
"Count bytes that went to the host. Callable as often as there is something to count.");

static PyObject *
op_sent(Op *self, PyTypeObject *class, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    PyObject *raw = RAW_OF(self);
    if (raw == NULL || !is_plain_count(raw, args, count, names)) {
        State *state = PyType_GetModuleState(class);
        return slowly(state->slow_sent, (PyObject *)self, args, count, names);
    }
    if (add(raw, SENT, args[0]) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(received_doc, "received($self, /, count)\n--\n\n"
"Count bytes that came from the host; the first call marks the time to first byte.");

static PyObject *
op_received(Op *self, PyTypeObject *class, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    State *state = PyType_GetModuleState(class);
    PyObject *raw = RAW_OF(self);
    int failed;
    if (raw == NULL || !is_plain_count(raw, args, count, names)) {
        return slowly(state->slow_received, (PyObject *)self, args, count, names);
    }
    Py_INCREF(raw);
    if (at(raw, FIRST) == Py_None && PyObject_IsTrue(args[0])) {
        PyObject *hot = hot_of(state, at(raw, SCOPE));
        PyObject *stamp = hot == NULL ? NULL : PyObject_CallNoArgs(PyTuple_GET_ITEM(hot, NOW));
        Py_XDECREF(hot);
        if (stamp == NULL) {
            Py_DECREF(raw);
            return NULL;
        }
        put(raw, FIRST, stamp);
    }
    failed = add(raw, RECEIVED, args[0]);
    Py_DECREF(raw);
    if (failed < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

#define METHOD(function) (PyCFunction)(void (*)(void))function, METH_METHOD | METH_FASTCALL | METH_KEYWORDS

static PyMethodDef op_methods[] = {
    {"__enter__", METHOD(op_enter), NULL},
    {"__exit__", METHOD(op_exit), NULL},
    {"sent", METHOD(op_sent), sent_doc},
    {"received", METHOD(op_received), received_doc},
    {NULL},
};

/* The entry is only ever a list of ours, which the C code above relies on. */
static PyObject *
get_raw(Op *self, void *Py_UNUSED(closure))
{
    PyObject *raw = RAW_OF(self);
    return Py_NewRef(raw == NULL ? Py_None : raw);
}

static int
set_raw(Op *self, PyObject *raw, void *Py_UNUSED(closure))
{
    if (raw == NULL || raw == Py_None) {
        Py_CLEAR(self->raw);
        return 0;
    }
    if (!is_entry(raw, OP_SIZE)) {
        return -1;
    }
    Py_XSETREF(self->raw, Py_NewRef(raw));
    return 0;
}

static PyGetSetDef op_getset[] = {
    {"_raw", (getter)get_raw, (setter)set_raw, NULL, NULL},
    {NULL},
};

static PyMemberDef op_members[] = {
    {"_key", T_OBJECT, offsetof(Op, key), 0, NULL},
    {"_given", T_OBJECT, offsetof(Op, given), 0, NULL},
    {NULL},
};

PyDoc_STRVAR(op_doc, "Op(host, port, operation='exchange', attributes=None)\n--\n\n"
"The hot half of `NetworkOp`.");

static PyType_Slot op_slots[] = {
    {Py_tp_doc, (void *)op_doc},
    {Py_tp_init, op_init},
    {Py_tp_dealloc, op_dealloc},
    {Py_tp_traverse, op_traverse},
    {Py_tp_clear, op_clear},
    {Py_tp_methods, op_methods},
    {Py_tp_getset, op_getset},
    {Py_tp_members, op_members},
    {0, NULL},
};

static PyType_Spec op_spec = {
    .name = "volnux.telemetry._speedups.Op",
    .basicsize = sizeof(Op),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = op_slots,
};

/* --- the fold --------------------------------------------------------------------------------------- */

/* The two lists of a site, made if need be: the durations of its entries, and its plain operations. */
static int
lists_of(PyObject *by_site, PyObject *site, PyObject **durations, PyObject **operations)
{
    PyObject *pair = PyDict_GetItemWithError(by_site, site); /* borrowed from the dict, which keeps it */
    if (pair == NULL) {
        if (PyErr_Occurred()) {
            return -1;
        }
        pair = Py_BuildValue("([][])");
        if (pair == NULL) {
            return -1;
        }
        if (PyDict_SetItem(by_site, site, pair) < 0) {
            Py_DECREF(pair);
            return -1;
        }
        Py_DECREF(pair);
    }
    if (!PyTuple_CheckExact(pair) || PyTuple_GET_SIZE(pair) != 2
        || !PyList_CheckExact(PyTuple_GET_ITEM(pair, 0)) || !PyList_CheckExact(PyTuple_GET_ITEM(pair, 1))) {
        PyErr_SetString(PyExc_TypeError, "a site has two lists");
        return -1;
    }
    *durations = PyTuple_GET_ITEM(pair, 0);
    *operations = PyTuple_GET_ITEM(pair, 1);
    return 0;
}

/* Whether nothing is around an event that has not been folded. */
static int
is_outermost(PyObject *event)
{
    PyObject *root = at(event, PARENT);
    return PyList_CheckExact(root) && PyList_GET_SIZE(root) >= EVENT_SIZE && at(root, SITE) == Py_None
        && at(root, EXTRA) == Py_None && PyLong_CheckExact(at(root, ID)) && PyObject_Not(at(root, ID));
}

/* Have an entry that is folded name its parent by identifier, or a chain of parents would stay. */
static int
name_parent(PyObject *raw, PyObject *number_of)
{
    PyObject *parent = at(raw, PARENT), *number;
    if (!PyList_CheckExact(parent) || PyList_GET_SIZE(parent) < EVENT_SIZE || at(parent, SITE) == Py_None) {
        return 0;
    }
    number = at(parent, ID);
    if (number != Py_None && (!PyLong_CheckExact(number) || is_outermost(parent))) {
        Py_INCREF(number);
    }
    else if ((number = PyObject_CallOneArg(number_of, parent)) == NULL) {
        return -1;
    }
    put(raw, PARENT, number);
    return 0;
}

/* Whether a duration is more than so many nanoseconds: 1, 0, or -1 for an error. */
static int
is_longer(PyObject *duration, PyObject *than)
{
    return PyObject_RichCompareBool(duration, than, Py_GT);
}

PyDoc_STRVAR(sort_out_doc,
"sort_out(batch, by_site, special, claims, op_claims, unfinished, slow, slow_op, plain_op, number_of, /)\n"
"--\n\n"
"Look at each entry of a batch once; see `Groups.sort_out`.");

static PyObject *
sort_out(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    PyObject *batch, *by_site, *special, *claims, *op_claims, *unfinished, *slow, *slow_op, *plain_op;
    PyObject *number_of, *site = NULL, *durations = NULL, *operations = NULL;
    if (count != 10 || !PyList_CheckExact(args[0]) || !PyDict_CheckExact(args[1])
        || !PyList_CheckExact(args[2]) || !PyList_CheckExact(args[3]) || !PyList_CheckExact(args[4])
        || !PyList_CheckExact(args[5])) {
        PyErr_SetString(PyExc_TypeError, "sort_out() takes a list, a dict, four lists and four objects");
        return NULL;
    }
    batch = args[0], by_site = args[1], special = args[2], claims = args[3], op_claims = args[4];
    unfinished = args[5], slow = args[6], slow_op = args[7], plain_op = args[8], number_of = args[9];
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(batch); i++) {
        PyObject *raw = PyList_GET_ITEM(batch, i), *extra, *duration;
        int failed = 0;
        if (!is_entry(raw, EVENT_SIZE)) {
            return NULL;
        }
        if (at(raw, END) == Py_None) {
            put(raw, LATE, Py_NewRef(Py_True));
            if (PyList_Append(unfinished, raw) < 0) {
                return NULL;
            }
            continue;
        }
        if (at(raw, SITE) != site) {
            site = at(raw, SITE); /* kept by the dict from here on */
            if (lists_of(by_site, site, &durations, &operations) < 0) {
                return NULL;
            }
        }
        if (name_parent(raw, number_of) < 0) {
            return NULL;
        }
        duration = PyNumber_Subtract(at(raw, END), at(raw, START));
        if (duration == NULL) {
            return NULL;
        }
        failed = PyList_Append(durations, duration);
        extra = at(raw, EXTRA);
        if (failed == 0 && (extra == Py_None || extra == plain_op)) {
            int is_event = extra == Py_None;
            if (!is_event) {
                failed = PyList_Append(operations, raw);
            }
            if (failed == 0) {
                int longer = is_longer(duration, is_event ? slow : slow_op);
                failed = longer <= 0 ? longer : PyList_Append(is_event ? claims : op_claims, raw);
            }
        }
        else if (failed == 0) {
            failed = PyList_Append(special, raw);
        }
        Py_DECREF(duration);
        if (failed < 0) {
            return NULL;
        }
    }
    Py_RETURN_NONE;
}

/* --- the module ------------------------------------------------------------------------------------- */

PyDoc_STRVAR(bind_doc, "bind(current, switch, fail, overrun, /)\n--\n\n"
"Hand over what beginning and ending an event works with.");

static PyObject *
bind_parts(PyObject *module, PyObject *args, int first, int size)
{
    PyObject **parts = OBJECTS((State *)PyModule_GetState(module)) + first;
    if (PyTuple_GET_SIZE(args) != size) {
        return PyErr_Format(PyExc_TypeError, "there are %d parts", size);
    }
    for (int i = 0; i < size; i++) {
        Py_XSETREF(parts[i], Py_NewRef(PyTuple_GET_ITEM(args, i)));
    }
    Py_RETURN_NONE;
}

static PyObject *
bind(PyObject *module, PyObject *args)
{
    if (PyTuple_GET_SIZE(args) == 0 || !PyContextVar_CheckExact(PyTuple_GET_ITEM(args, 0))) {
        PyErr_SetString(PyExc_TypeError, "the first part is a ContextVar");
        return NULL;
    }
    return bind_parts(module, args, 0, FOR_EVENTS);
}

PyDoc_STRVAR(bind_op_doc, "bind_op(known_ops, plain_op, fail_op, overrun_op, enter, exit, sent, received, /)\n--\n\n"
"Hand over what network operations work with, their Python methods included.");

static PyObject *
bind_op(PyObject *module, PyObject *args)
{
    if (PyTuple_GET_SIZE(args) == 0 || !PyDict_CheckExact(PyTuple_GET_ITEM(args, 0))) {
        PyErr_SetString(PyExc_TypeError, "the first part is a dict");
        return NULL;
    }
    return bind_parts(module, args, FOR_EVENTS, FOR_OPS);
}

static PyMethodDef functions[] = {
    {"begin", begin, METH_O, begin_doc},
    {"end", (PyCFunction)(void (*)(void))end, METH_FASTCALL, end_doc},
    {"end_failed", (PyCFunction)(void (*)(void))end_failed, METH_FASTCALL, end_failed_doc},
    {"sort_out", (PyCFunction)(void (*)(void))sort_out, METH_FASTCALL, sort_out_doc},
    {"bind", bind, METH_VARARGS, bind_doc},
    {"bind_op", bind_op, METH_VARARGS, bind_op_doc},
    {NULL},
};

static int
module_exec(PyObject *module)
{
    static const char *names[] = {"hot", "on", "limit", "late", "fold"};
    PyObject **objects = OBJECTS((State *)PyModule_GetState(module)) + BOUND;
    PyObject *type;
    int failed;
    for (size_t i = 0; i < Py_ARRAY_LENGTH(names); i++) {
        if ((objects[i] = PyUnicode_InternFromString(names[i])) == NULL) {
            return -1;
        }
    }
    if ((((State *)PyModule_GetState(module))->zero = PyLong_FromLong(0)) == NULL) {
        return -1;
    }
    type = PyType_FromModuleAndSpec(module, &op_spec, NULL);
    failed = type == NULL || PyModule_AddType(module, (PyTypeObject *)type) < 0;
    Py_XDECREF(type);
    return failed ? -1 : 0;
}

static int
module_traverse(PyObject *module, visitproc visit, void *arg)
{
    PyObject **objects = OBJECTS((State *)PyModule_GetState(module));
    for (int i = 0; i < ALL; i++) {
        Py_VISIT(objects[i]);
    }
    return 0;
}

static int
module_clear(PyObject *module)
{
    PyObject **objects = OBJECTS((State *)PyModule_GetState(module));
    for (int i = 0; i < ALL; i++) {
        Py_CLEAR(objects[i]);
    }
    return 0;
}

static void
module_free(void *module)
{
    module_clear((PyObject *)module);
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
#if PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "volnux.telemetry._speedups",
    .m_doc = "The hot path, compiled.",
    .m_size = sizeof(State),
    .m_methods = functions,
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC
PyInit__speedups(void)
{
    return PyModuleDef_Init(&definition);
}
